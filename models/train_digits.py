"""Trains the small network of README's example on scikit-learn's handwritten digits, dense and then 90 % pruned.

Writes digits.onnx, digits_pruned.onnx and digits.npz (the test images and labels, which training never sees). The
8x8 images are enlarged to 16x16. Everything follows from --seed, up to how a machine's linear algebra library rounds.
The digits are E. Alpaydin's of the UCI repository, as bundled with scikit-learn; README.md has their origin.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.export import to_onnx
from training.layers import Array, BatchNorm, Conv, Dropout, Gemm, GlobalAveragePool, Layer, MaxPool, Relu
from training.loop import Labels, Network, Schedule, train
from training.pruning import Pruner
from zoo.command import natural

SIZE, CLASSES = 16, 10
WIDTHS = (32, 64, 64, 128)
SPARSITY = 0.9
DENSE = Schedule(epochs=25, rate=2e-3)
PRUNED = Schedule(epochs=25, rate=2e-3, sparsity=SPARSITY)
LICENSE = "Apache-2.0"
DATA = "Optical Recognition of Handwritten Digits, E. Alpaydin, UCI, via scikit-learn"


class Digits(NamedTuple):
    """Images (n, 16, 16, 1) in 0..1 with their labels (n,): four fifths to train on, one fifth to test on."""

    train_images: Array
    train_labels: Labels
    test_images: Array
    test_labels: Labels


def digits(seed: int) -> Digits:
    """The 1,797 images, enlarged by repeating pixels, split so that each digit has the same share in both parts."""
    bunch = load_digits()
    images = (bunch.images / 16).astype(np.float32).repeat(2, axis=1).repeat(2, axis=2)[..., None]
    labels = bunch.target.astype(np.int64)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, stratify=labels, random_state=seed
    )
    return Digits(train_images, train_labels, test_images, test_labels)


def network(rng: np.random.Generator, widths: Sequence[int] = WIDTHS) -> Network:
    """3x3 Convs of these widths, each with BatchNorm and Relu, a MaxPool behind the second; then one Gemm."""
    layers: list[Layer] = []
    for index, (c_in, c_out) in enumerate(zip((1, *widths), widths, strict=False)):
        layers += [Conv(c_in, c_out, 3, rng), BatchNorm(c_out), Relu()]
        if index == 1:
            layers.append(MaxPool())
    return Network([*layers, GlobalAveragePool(), Dropout(0.2, rng), Gemm(widths[-1], CLASSES, rng)])


def prunable(net: Network) -> Pruner:
    """Every Conv but the first, which sees one channel and has little to lose."""
    return Pruner([layer.weight for layer in net.layers if isinstance(layer, Conv)][1:])


def fit(net: Network, data: Digits, schedule: Schedule, rng: np.random.Generator, pruner: Pruner | None = None) -> None:
    """Train, printing each epoch's loss."""
    for epoch, loss in enumerate(train(net, data.train_images, data.train_labels, schedule, rng, pruner), start=1):
        print(f"epoch {epoch:2d} of {schedule.epochs}: loss {loss:.4f}", flush=True)


def model(net: Network, name: str, data: Digits, seed: int, sparsity: float) -> onnx.ModelProto:
    """The network as ONNX, saying how good it is and where it comes from."""
    accuracy = net.accuracy(data.test_images, data.test_labels)
    print(f"{name}: test accuracy {100 * accuracy:.2f} % of {len(data.test_labels)} images")
    metadata = {
        "accuracy": f"{accuracy:.4f}",
        "data": DATA,
        "license": LICENSE,
        "seed": str(seed),
        "sparsity": str(sparsity),
        "script": "models/train_digits.py",
    }
    return to_onnx(net, name, SIZE, CLASSES, metadata)


def trained(data: Digits, seed: int) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The dense network, and what pruning and further training make of it."""
    rng = np.random.default_rng(seed)
    net = network(rng)
    fit(net, data, DENSE, rng)
    dense = model(net, "digits", data, seed, 0.0)
    fit(net, data, PRUNED, rng, prunable(net))
    return dense, model(net, "digits_pruned", data, seed, SPARSITY)


def main() -> None:
    """Train both networks and write the three files."""
    parser = argparse.ArgumentParser(description="Train the digits networks, dense and pruned (a few minutes).")
    parser.add_argument("--seed", type=natural, default=0, help="of split, weights, batches and shifts (default 0)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to (default: here)")
    options = parser.parse_args()
    if not options.out.is_dir() or not os.access(options.out, os.W_OK):
        parser.exit(
            2, f"error: cannot write into {options.out}; name a folder that exists and is writable with --out\n"
        )
    data = digits(options.seed)
    # Several threads sum in another order than one, so that the result would depend on their number.
    with threadpool_limits(1):
        dense, pruned = trained(data, options.seed)
    onnx.save(dense, options.out / "digits.onnx")
    onnx.save(pruned, options.out / "digits_pruned.onnx")
    images = data.test_images.transpose(0, 3, 1, 2)
    np.savez_compressed(options.out / "digits.npz", input=images, labels=data.test_labels)


if __name__ == "__main__":
    main()
