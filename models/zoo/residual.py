"""The blocks of residual networks (He et al. 2015, arXiv 1512.03385)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zoo.builder import Builder, Feature

Block = Callable[[Builder, Feature, int, int], Feature]


def basic_block(b: Builder, x: Feature, channels: int, stride: int) -> Feature:
    """Two 3x3 Convs; a projection where the shape changes (option B)."""
    y = b.relu(b.conv(x, channels, 3, stride=stride))
    y = b.conv(y, channels, 3)
    return b.relu(b.add(y, _projection(b, x, channels, stride)))


def bottleneck(b: Builder, x: Feature, channels: int, stride: int) -> Feature:
    """1x1, 3x3 and 1x1 Convs, the last four times as wide. The stride sits in the 3x3 Conv (version 1.5)."""
    y = b.relu(b.conv(x, channels, 1))
    y = b.relu(b.conv(y, channels, 3, stride=stride))
    y = b.conv(y, 4 * channels, 1)
    return b.relu(b.add(y, _projection(b, x, 4 * channels, stride)))


def subsampled_block(b: Builder, x: Feature, channels: int, stride: int) -> Feature:
    """Two 3x3 Convs; where the shape changes every second pixel and zero channels (option A, no parameters)."""
    y = b.relu(b.conv(x, channels, 3, stride=stride))
    y = b.conv(y, channels, 3)
    shortcut = x if stride == 1 else b.subsample(x, channels)
    return b.relu(b.add(y, shortcut))


def stages(b: Builder, x: Feature, block: Block, depths: Sequence[int], channels: int) -> Feature:
    """`depths[i]` blocks a stage; from the second stage on each doubles the channels and halves the map."""
    for stage, depth in enumerate(depths):
        for index in range(depth):
            x = block(b, x, channels << stage, 2 if stage > 0 and index == 0 else 1)
    return x


def head(b: Builder, x: Feature, classes: int) -> Feature:
    """The mean over the map, then one Gemm."""
    return b.gemm(b.flatten(b.global_average_pool(x)), classes, centred=True)


def imagenet_stem(b: Builder, x: Feature) -> Feature:
    """A 7x7 Conv and a MaxPool: a quarter of the size, 64 channels."""
    return b.max_pool(b.relu(b.conv(x, 64, 7, stride=2)), 3, 2, pad=1)


def cifar_layers(b: Builder, x: Feature, classes: int, depth: int) -> Feature:
    """The paper's section 4.2: `depth` = 6n + 2 layers in three stages of n blocks, 16, 32 and 64 channels."""
    blocks = (depth - 2) // 6
    x = b.relu(b.conv(x, 16, 3))
    return head(b, stages(b, x, subsampled_block, [blocks] * 3, 16), classes)


def _projection(b: Builder, x: Feature, channels: int, stride: int) -> Feature:
    if stride == 1 and x.channels == channels:
        return x
    return b.conv(x, channels, 1, stride=stride)
