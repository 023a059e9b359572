"""AlexNet (Krizhevsky 2014, arXiv 1404.5997): one tower, no response normalisation; 61.1 M parameters, 0.71 GMAC."""

from __future__ import annotations

from zoo.builder import Builder, Feature
from zoo.command import Architecture, main


def layers(b: Builder, x: Feature, classes: int) -> Feature:
    x = b.max_pool(b.relu(b.conv(x, 64, 11, stride=4, pad=2)), 3, 2)
    x = b.max_pool(b.relu(b.conv(x, 192, 5)), 3, 2)
    for channels in (384, 256, 256):
        x = b.relu(b.conv(x, channels, 3))
    x = b.flatten(b.max_pool(x, 3, 2))
    for _ in range(2):
        x = b.relu(b.gemm(x, 4096))
    return b.gemm(x, classes, centred=True)


ALEXNET = Architecture("alexnet", layers, image_size=224, classes=1000, normalised=False)

if __name__ == "__main__":
    main(ALEXNET)
