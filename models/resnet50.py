"""ResNet-50 (He et al. 2015, arXiv 1512.03385), version 1.5: 25.6 M parameters, 4.1 GMAC.

Version 1.5 halves the map in a block's 3x3 Conv, where the paper does it in the first 1x1 (3.8 GMAC).
"""

from __future__ import annotations

from zoo.builder import Builder, Feature
from zoo.command import Architecture, main
from zoo.residual import bottleneck, head, imagenet_stem, stages


def layers(b: Builder, x: Feature, classes: int) -> Feature:
    return head(b, stages(b, imagenet_stem(b, x), bottleneck, (3, 4, 6, 3), 64), classes)


RESNET50 = Architecture("resnet50", layers, image_size=224, classes=1000, normalised=True)

if __name__ == "__main__":
    main(RESNET50)
