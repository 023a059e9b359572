"""Load and save: a graph to rewrite, in the envelope of everything the rewriting does not touch."""

from onnxcomp.model.model import Model

__all__ = ["Model"]
