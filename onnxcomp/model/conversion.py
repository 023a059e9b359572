"""Raising the operator set."""
