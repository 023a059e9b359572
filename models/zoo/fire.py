"""SqueezeNet's building block and its end (Iandola et al. 2016, arXiv 1602.07360)."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.builder import Builder, Feature


def fires(b: Builder, x: Feature, widths: Sequence[int]) -> Feature:
    """A fire module for each width: squeeze 1x1 to `width`, expand 1x1 and 3x3 to 4 * width each, side by side."""
    for width in widths:
        squeezed = b.relu(b.conv(x, width, 1))
        x = b.concat(b.relu(b.conv(squeezed, 4 * width, 1)), b.relu(b.conv(squeezed, 4 * width, 3)))
    return x


def classifier(b: Builder, x: Feature, classes: int) -> Feature:
    """A 1x1 Conv to the classes, then the mean over the map."""
    return b.flatten(b.global_average_pool(b.relu(b.conv(x, classes, 1))))


def pool(b: Builder, x: Feature) -> Feature:
    """The 3x3 MaxPool of stride 2 between the modules; Caffe's rounding, which the published sizes rest on."""
    return b.max_pool(x, 3, 2, round_up=True)
