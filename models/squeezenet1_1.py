"""SqueezeNet 1.1, its authors' lighter version of arXiv 1602.07360: 1.24 M parameters, 0.35 GMAC."""

from __future__ import annotations

from zoo.builder import Builder, Feature
from zoo.command import Architecture, main
from zoo.fire import classifier, fires, pool


def layers(b: Builder, x: Feature, classes: int) -> Feature:
    x = pool(b, b.relu(b.conv(x, 64, 3, stride=2, pad=0)))
    x = pool(b, fires(b, x, (16, 16)))
    x = pool(b, fires(b, x, (32, 32)))
    return classifier(b, fires(b, x, (48, 48, 64, 64)), classes)


SQUEEZENET1_1 = Architecture("squeezenet1_1", layers, image_size=224, classes=1000, normalised=False)

if __name__ == "__main__":
    main(SQUEEZENET1_1)
