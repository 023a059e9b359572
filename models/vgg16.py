"""VGG-16 (Simonyan and Zisserman 2014, arXiv 1409.1556), configuration D: 138.4 M parameters, 15.5 GMAC."""

from __future__ import annotations

from zoo.builder import Builder, Feature
from zoo.command import Architecture, main

# Channels of the 3x3 Convs between one MaxPool and the next.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def layers(b: Builder, x: Feature, classes: int) -> Feature:
    for stage in STAGES:
        for channels in stage:
            x = b.relu(b.conv(x, channels, 3))
        x = b.max_pool(x, 2, 2)
    x = b.flatten(x)
    for _ in range(2):
        x = b.relu(b.gemm(x, 4096))
    return b.gemm(x, classes, centred=True)


VGG16 = Architecture("vgg16", layers, image_size=224, classes=1000, normalised=False)

if __name__ == "__main__":
    main(VGG16)
