"""The built-in passes, in the order they are meant to run."""

from onnxcomp_passes.codebook import Codebook
from onnxcomp_passes.compress import Compress
from onnxcomp_passes.drop_identity import DropIdentity
from onnxcomp_passes.expand_lrn import ExpandLrn
from onnxcomp_passes.fold_batchnorm import FoldBatchnorm
from onnxcomp_passes.kronecker import Kronecker
from onnxcomp_passes.penni import Penni
from onnxcomp_passes.prune import Prune
from onnxcomp_passes.shrink import Shrink
from onnxcomp_passes.sparse_conv import SparseConv
from onnxcomp_passes.sparse_gemm import SparseGemm
from onnxcomp_passes.sparse_weight import SparseWeight
from onnxcomp_passes.unified_weight import UnifiedWeight
from onnxcomp_passes.unify import Unify

PASSES = (
    DropIdentity,
    Kronecker,
    FoldBatchnorm,
    Prune,
    Compress,
    Shrink,
    ExpandLrn,
    Penni,
    Unify,
    SparseConv,
    SparseGemm,
    UnifiedWeight,
    Codebook,
    SparseWeight,
)
