"""ResNet-20 for CIFAR (He et al. 2015, arXiv 1512.03385, section 4.2), shortcuts without parameters (option A):
0.27 M parameters, 41 MMAC."""

from __future__ import annotations

from zoo.builder import Builder, Feature
from zoo.command import Architecture, main
from zoo.residual import cifar_layers


def layers(b: Builder, x: Feature, classes: int) -> Feature:
    return cifar_layers(b, x, classes, depth=20)


RESNET20 = Architecture("resnet20", layers, image_size=32, classes=10, normalised=True)

if __name__ == "__main__":
    main(RESNET20)
