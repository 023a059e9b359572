"""The kinds of layers that can have another weight: convolutions and fully connected ones."""

from collections.abc import Mapping
from types import MappingProxyType

from onnxcomp_passes.conv_sites import conv_site
from onnxcomp_passes.factor_sites import Reader
from onnxcomp_passes.linear_sites import linear_site

CONVOLUTIONS: Mapping[str, Reader] = MappingProxyType({"Conv": conv_site})
LAYERS: Mapping[str, Reader] = MappingProxyType({**CONVOLUTIONS, "Gemm": linear_site, "MatMul": linear_site})
