"""A small CNN whose 3x3 kernels are exact sums of few products: 1.7 M parameters that 0.3 M numbers determine.

Two layers share kernels (PENNI), two are Kronecker products, one is of low rank across channels. A recipe's zeros are
for the layers without factors, which are the first Conv and the fully connected layer.
"""

from __future__ import annotations

from zoo.builder import Builder, Feature
from zoo.command import Architecture, main
from zoo.factors import Factored, Kronecker, SharedBasis

# Output channels, stride and factors of the 3x3 convolutions behind the first.
LAYERS: tuple[tuple[int, int, Factored], ...] = (
    (128, 1, SharedBasis(2)),
    (128, 1, Kronecker((4, 4, 1, 1))),
    (256, 2, Kronecker((256, 1, 1, 1), rank=32)),
    (256, 1, SharedBasis(3)),
    (256, 2, Kronecker((4, 4, 1, 1))),
)


def layers(b: Builder, x: Feature, classes: int) -> Feature:
    x = b.relu(b.conv(x, 64, 3, stride=2))
    for channels, stride, factors in LAYERS:
        x = b.relu(b.conv(x, channels, 3, stride=stride, factors=factors))
    return b.gemm(b.flatten(b.global_average_pool(x)), classes)


FACTORED_CNN = Architecture("factored_cnn", layers, image_size=64, classes=10, normalised=True)

if __name__ == "__main__":
    main(FACTORED_CNN)
