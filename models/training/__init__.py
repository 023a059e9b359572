"""Trains a small convolutional network in plain NumPy and writes it as ONNX: layers, Adam, gradual pruning, export."""
