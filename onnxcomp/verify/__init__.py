"""Are two models equal? Their outputs on the same inputs, by every measure a deployment asks for."""

from onnxcomp.verify.comparison import Comparison, Reference, compare
from onnxcomp.verify.output import OutputComparison, Tolerance

__all__ = ["Comparison", "OutputComparison", "Reference", "Tolerance", "compare"]
