"""MobileNetV2, width 1.0 (Sandler et al. 2018, arXiv 1801.04381): 3.5 M parameters, 0.30 GMAC."""

from __future__ import annotations

from zoo.builder import Builder, Feature
from zoo.command import Architecture, main
from zoo.residual import head

# The paper's table 2: expansion t, channels c, repeats n, stride s of the first.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def inverted_residual(b: Builder, x: Feature, expansion: int, channels: int, stride: int) -> Feature:
    """Widen by 1x1, filter each channel by 3x3, narrow by 1x1 without an activation."""
    y = x if expansion == 1 else b.relu6(b.conv(x, expansion * x.channels, 1))
    y = b.relu6(b.conv(y, y.channels, 3, stride=stride, groups=y.channels))
    y = b.conv(y, channels, 1)
    return b.add(x, y) if stride == 1 and x.channels == channels else y


def layers(b: Builder, x: Feature, classes: int) -> Feature:
    x = b.relu6(b.conv(x, 32, 3, stride=2))
    for expansion, channels, repeats, stride in STAGES:
        for index in range(repeats):
            x = inverted_residual(b, x, expansion, channels, stride if index == 0 else 1)
    return head(b, b.relu6(b.conv(x, 1280, 1)), classes)


MOBILENET_V2 = Architecture("mobilenet_v2", layers, image_size=224, classes=1000, normalised=True)

if __name__ == "__main__":
    main(MOBILENET_V2)
