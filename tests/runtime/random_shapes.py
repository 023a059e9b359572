"""Random convolutions against ONNX Runtime's dense Conv: `python tests/runtime/random_shapes.py --count 10000`.

Draws shapes, strides, pads, dilations, groups, batches, structures and shares of zeros, runs each through the library
on the instruction set that ONNXCOMP_ISA names (the best, where it names none), and holds the difference to what
float32 rounding allows. Prints the number of cases and the worst share of its tolerance that any took; a case that
fails is printed with its seed, which repeats it: `--first SEED --count 1`.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from onnxcomp.formats import sparse_conv
from tests.runtime.sparse_models import Case, dense_output, random_case, run, sparse_model, structured_case, tolerance

MOST_PRODUCTS = 2e7  # multiply-adds of a case: some milliseconds
STRUCTURES = (sparse_conv.UNSTRUCTURED, sparse_conv.UNSTRUCTURED, "4x1", "16x1", "2:16", "4:16")


def draw(seed: int) -> Case:
    """The case of `seed`: any convolution that ONNX Runtime's Conv runs too, none of them slow."""
    rng = np.random.default_rng(seed)
    rank = int(rng.choice([1, 2, 2, 2]))
    structure = str(rng.choice(STRUCTURES))
    height = sparse_conv.BLOCK_HEIGHTS.get(structure, 1)

    def each(low: int, high: int) -> list[int]:
        return [int(v) for v in rng.integers(low, high + 1, rank)]

    kernel = [1] * rank if rng.random() < 0.25 else each(1, 7)
    group = int(rng.choice([1, 1, 1, 2, 4]))
    attributes: dict[str, Any] = {"group": group, "strides": each(1, 4), "dilations": each(1, 3)}
    if rng.random() < 0.2:
        attributes |= {"auto_pad": str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])), "dilations": [1] * rank}
    else:
        attributes["pads"] = each(0, 4) + each(0, 4)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, attributes["dilations"], strict=True)]
    sizes = [e + s for e, s in zip(extent, each(0, 40), strict=True)]
    outputs = int(rng.integers(1, 48 // height + 1)) * height * group
    channels, batch = int(rng.integers(1, 65)), int(rng.choice([1, 1, 1, 2, 5, 16, 17]))
    while outputs * channels * np.prod(kernel) * np.prod(sizes) * batch > MOST_PRODUCTS and batch > 1:
        batch //= 2
    while outputs * channels * np.prod(kernel) * np.prod(sizes) * batch > MOST_PRODUCTS and channels > 1:
        channels //= 2
    density = float(rng.choice([0.0, 0.03, 0.1, 0.3, 1.0]))
    shapes = (outputs, channels, *kernel), (batch, channels * group, *sizes)
    if structure == sparse_conv.UNSTRUCTURED:
        return random_case(*shapes, density, seed, **attributes)
    return structured_case(structure, *shapes, density, seed, **attributes)


def shares(seeds: range) -> Iterator[tuple[int, float]]:
    """Each seed with the largest share of its tolerance that an output takes; infinity for another shape."""
    for seed in seeds:
        case = draw(seed)
        got, want, allowed = run(sparse_model(case), case.feed), dense_output(case), tolerance(case)
        if got.shape != want.shape:
            yield seed, float("inf")
        elif got.size:
            difference = np.abs(got - want)
            yield (
                seed,
                float(
                    np.max(np.divide(difference, allowed, out=np.where(difference > 0, np.inf, 0.0), where=allowed > 0))
                ),
            )
        else:
            yield seed, 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    worst = 0.0
    failed = 0
    for seed, share in shares(range(options.first, options.first + options.count)):
        worst = max(worst, share)
        if not share <= 1:
            failed += 1
            print(f"seed {seed}: {share:.2f} of the tolerance: {draw(seed).attributes}")  # noqa: T201
    print(f"{options.count} cases, {failed} failed, worst {worst:.3f} of the tolerance")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
