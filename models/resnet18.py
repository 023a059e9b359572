"""ResNet-18 (He et al. 2015, arXiv 1512.03385): 11.7 M parameters, 1.8 GMAC.

`--cifar` is the usual form for 32x32 images: a 3x3 stem at full size, no MaxPool, 10 classes; 11.2 M, 0.56 GMAC.
"""

from __future__ import annotations

from zoo.builder import Builder, Feature
from zoo.command import Architecture, main
from zoo.residual import basic_block, head, imagenet_stem, stages


def layers(b: Builder, x: Feature, classes: int) -> Feature:
    return head(b, stages(b, imagenet_stem(b, x), basic_block, (2, 2, 2, 2), 64), classes)


def cifar_layers(b: Builder, x: Feature, classes: int) -> Feature:
    x = b.relu(b.conv(x, 64, 3))
    return head(b, stages(b, x, basic_block, (2, 2, 2, 2), 64), classes)


RESNET18 = Architecture("resnet18", layers, image_size=224, classes=1000, normalised=True)
RESNET18_CIFAR = Architecture("resnet18-cifar", cifar_layers, image_size=32, classes=10, normalised=True)

if __name__ == "__main__":
    main(RESNET18, {"cifar": RESNET18_CIFAR})
