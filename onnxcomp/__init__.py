"""onnxcomp: make pruned and factored convolutional networks smaller and faster in ONNX Runtime, with proof."""
