"""unified-weight: store a weight whose blocks have one magnitude each as signs and scales; the layer stays as it is.

    W (initializer) -> Conv, ConvTranspose, Gemm, MatMul
      becomes  UnifiedWeight(kinds, scales, digits, values) -> W -> the same node

UnifiedWeight is a function in standard operators that every runtime folds when the session loads
(onnxcomp/formats/unified_weight.py), so the running time is the dense layer's and the file is smaller. Exact to the
bit, but for the sign of zeros. Block sizes and levels are those that store smallest; declines what a bitmap or a
codebook stores smaller still, what is shared with a caller (an overridable initializer), what a body captures, and what
would shrink by less than `min_saving`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.formats import bitmap, codebook, unified_weight
from onnxcomp.formats.find_unified import find
from onnxcomp.fragment import Fragment
from onnxcomp.pass_api import Candidate
from onnxcomp_passes.storing import StoringPass
from onnxcomp_passes.unified_layer import constants_of, in_words


class UnifiedWeight(StoringPass):
    """Store weights whose blocks have one magnitude each as signs and scales."""

    name = "unified-weight"
    summary = "store weights whose blocks have one magnitude each as signs and scales, decoded when the session loads"

    def why_not_stored(self, value: NDArray[Any]) -> str | None:
        """No such blocks, or no fewer bytes."""
        stored = find(value) if value.dtype == np.float32 and value.ndim > 1 else None
        if stored is None:
            return "no blocks of one magnitude"
        if not self.is_worth(stored.size_bytes, value):
            return f"{in_words(stored, value.size)['block']} blocks would save less than {self.options.min_saving:.0%}"
        if stored.size_bytes >= _other_bytes(value):
            return "a bitmap or a codebook is smaller than blocks of one magnitude"
        return None

    def stored(self, value: NDArray[Any], name: str, opset: int) -> Candidate:
        """The blocks that store smallest."""
        stored = find(value)
        assert stored is not None
        decoded, constants = f"{name}_decoded", constants_of(stored, name)
        node = unified_weight.node(list(constants), decoded, value.shape, stored)
        after = Fragment((node,), constants, (), (decoded,), (unified_weight.function(opset),))
        return self.candidate(value, name, after, **in_words(stored, value.size))


def _other_bytes(value: NDArray[Any]) -> int:
    """What the smallest of the other forms takes."""
    sparse = bitmap.encode(value)
    of_nonzeros, of_all = codebook.encode(sparse.values), codebook.encode(value)
    coded = [of_nonzeros.size_bytes + sparse.mask.nbytes] if of_nonzeros else []
    return min([sparse.size_bytes, *coded, *([of_all.size_bytes] if of_all else [])])
