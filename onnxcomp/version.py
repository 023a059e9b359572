"""The package's version, from its metadata."""

from importlib.metadata import version

VERSION = version("onnxcomp")
