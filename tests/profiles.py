"""A machine's profile made up for tests: nothing is measured."""

from onnxcomp.cost.break_even import BreakEven
from onnxcomp.cost.host import host
from onnxcomp.cost.host_profile import HostProfile
from onnxcomp.cost.layers import LayerClass
from onnxcomp.cost.peaks import Bandwidth
from onnxcomp.cost.skimcaffe import Fit


def made_up_profile() -> HostProfile:
    """Of this machine used with one thread; the second class of layers never breaks even."""
    shapes = (LayerClass(3, 64, 64, 56), LayerClass(1, 64, 256, 56))
    evens = tuple(
        BreakEven(str(shape), shape, sparsity, 1.0, 2.0, ((0.8, 0.6), (0.9, 0.5)))
        for shape, sparsity in zip(shapes, (0.7, None), strict=True)
    )
    bandwidths = (Bandwidth(1 << 17, 100.0), Bandwidth(1 << 28, 10.0))
    return HostProfile(host(1), {1: 100.0}, bandwidths, evens, (Fit("spatial", 2.0, 2.0, 2, 1.2),), None)
