"""codebook: store a weight of at most 256 distinct values as ids into a list of them; the layer itself stays as it is.

    W (initializer) -> Conv, ConvTranspose, Gemm, MatMul
      becomes  Codebook(ids, codebook) -> W -> the same node
      or       Codebook(ids, codebook) -> values;  SparseWeight(mask, values) -> W -> the same node
    values (initializer) -> SparseConv, SparseGemm, ...
      becomes  Codebook(ids, codebook) -> values -> the same node

Of the two forms of a weight the smaller is taken, where it is also smaller than a bitmap without a codebook, which is
sparse-weight's. Codebook and SparseWeight are functions in standard operators that every runtime folds when the session
loads (onnxcomp/formats/codebook.py), so the running time stays and the file is smaller. Exact to the bit, but for the
sign of the zeros that a bitmap drops. Declines what is shared with a caller (an overridable initializer), what a body
captures, and what would shrink by less than `min_saving`. (Han et al., Deep Compression, ICLR 2016, section 3.)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.formats import bitmap, codebook, sparse_weight
from onnxcomp.formats.codebook import Coded
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate
from onnxcomp_passes.storing import StoringPass


class Codebook(StoringPass):
    """Store weights of few distinct values as ids into a codebook."""

    name = "codebook"
    summary = "store weights of at most 256 distinct values as ids into a codebook, decoded when the session loads"

    def constants(self, graph: Model, node: gs.Node) -> list[gs.Tensor]:
        """A layer's weight, and the nonzeros of a bitmap that one of our operators takes."""
        function = graph.functions.get((node.domain, node.op)) if node.domain == DOMAIN else None
        if function is None or "values" not in function.input:
            return super().constants(graph, node)
        return list(node.inputs[list(function.input).index("values") :][:1])

    def why_not_stored(self, value: NDArray[Any]) -> str | None:
        """Too many values, or no fewer bytes."""
        form = _smallest(value)
        if form is None:
            return f"more than {codebook.MAX_VALUES} distinct values"
        found = f"{form.coded.codebook.size} distinct values"
        if not self.is_worth(form.size_bytes, value):
            return f"{found}; a codebook would save less than {self.options.min_saving:.0%}"
        if form.size_bytes >= bitmap.encode(value).size_bytes:
            return f"{found}; a bitmap of the zeros alone is smaller than a codebook"
        return None

    def stored(self, value: NDArray[Any], name: str, opset: int) -> Candidate:
        """The smaller form, with the codebook's length as the option that reports show."""
        form = _smallest(value)
        assert form is not None
        decoded, coded = f"{name}_decoded", form.coded
        constants: dict[str, NDArray[Any]] = {f"{name}_ids": coded.ids, f"{name}_codebook": coded.codebook}
        inputs, functions = list(constants), [codebook.function(coded.op, opset)]
        if form.mask is None:
            nodes = [codebook.node(coded.op, inputs, decoded, value.shape)]
        else:
            mask, values = f"{name}_mask", f"{name}_values"
            constants[mask] = form.mask
            nodes = [
                codebook.node(coded.op, inputs, values, (form.nonzero,)),
                sparse_weight.node([mask, values], decoded, value.shape, value.dtype),
            ]
            functions.append(sparse_weight.function(opset))
        after = Fragment(tuple(nodes), constants, (), (decoded,), tuple(functions))
        return self.candidate(value, name, after, values=coded.codebook.size)


@dataclass(frozen=True, eq=False)
class _Form:
    """A constant as ids, or its zeros as a bitmap and its `nonzero` other values as ids."""

    coded: Coded
    mask: NDArray[np.uint8] | None = None
    nonzero: int = 0

    @property
    def size_bytes(self) -> int:
        return self.coded.size_bytes + (0 if self.mask is None else self.mask.nbytes)


def _smallest(value: NDArray[Any]) -> _Form | None:
    """The smaller form of `value`; None where even its nonzeros take too many values."""
    sparse = bitmap.encode(value)
    nonzeros, everything = codebook.encode(sparse.values), codebook.encode(value)
    if nonzeros is None:
        return None
    forms = [_Form(nonzeros, sparse.mask, sparse.values.size), *([_Form(everything)] if everything else [])]
    return min(reversed(forms), key=lambda form: form.size_bytes)
