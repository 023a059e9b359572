"""SqueezeNet 1.0 (Iandola et al. 2016, arXiv 1602.07360): 1.25 M parameters, 0.82 GMAC."""

from __future__ import annotations

from zoo.builder import Builder, Feature
from zoo.command import Architecture, main
from zoo.fire import classifier, fires, pool


def layers(b: Builder, x: Feature, classes: int) -> Feature:
    x = pool(b, b.relu(b.conv(x, 96, 7, stride=2, pad=0)))
    x = pool(b, fires(b, x, (16, 16, 32)))
    x = pool(b, fires(b, x, (32, 48, 48, 64)))
    return classifier(b, fires(b, x, (64,)), classes)


SQUEEZENET1_0 = Architecture("squeezenet1_0", layers, image_size=224, classes=1000, normalised=False)

if __name__ == "__main__":
    main(SQUEEZENET1_0)
