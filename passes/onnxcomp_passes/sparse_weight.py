"""sparse-weight: store a weight that is mostly zeros as a bitmap; the layer itself stays as it is.

    W (initializer) -> Conv, ConvTranspose, Gemm, MatMul   becomes   SparseWeight(mask, values) -> W -> the same node

SparseWeight is a function in standard operators that every runtime folds when the session loads
(onnxcomp/formats/sparse_weight.py), so the running time is the dense layer's and the file is smaller. Exact to the bit,
but for the sign of zeros. Declines what is shared with a caller (an overridable initializer), what a body captures, and
what would shrink by less than `min_saving`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.formats import bitmap, sparse_weight
from onnxcomp.fragment import Fragment
from onnxcomp.pass_api import Candidate
from onnxcomp_passes.storing import StoringPass


class SparseWeight(StoringPass):
    """Store weights that are mostly zeros as bitmaps."""

    name = "sparse-weight"
    summary = "store weights that are mostly zeros as bitmaps, decoded when the session loads"

    def why_not_stored(self, value: NDArray[Any]) -> str | None:
        """Too few zeros."""
        nonzero = int(np.count_nonzero(value))
        if self.is_worth(bitmap.size_bytes(value.size, nonzero, value.itemsize), value):
            return None
        zeros = 1 - nonzero / value.size
        return f"{zeros:.1%} zeros; a bitmap would save less than {self.options.min_saving:.0%}"

    def stored(self, value: NDArray[Any], name: str, opset: int) -> Candidate:
        """The weight as bitmap and values."""
        stored = bitmap.encode(value)
        constants = {f"{name}_mask": stored.mask, f"{name}_values": stored.values}
        decoded = f"{name}_decoded"
        node = sparse_weight.node(list(constants), decoded, value.shape, value.dtype)
        after = Fragment((node,), constants, (), (decoded,), (sparse_weight.function(opset),))
        return self.candidate(value, name, after)
