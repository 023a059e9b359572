"""Random convolutions against ONNX Runtime's dense Conv: `python tests/runtime/random_shapes.py SparseConv`.

Draws shapes, strides, pads, dilations, groups, batches, structures and shares of zeros, runs each through the library
on the instruction set that ONNXCOMP_ISA names (the best, where it names none), and holds the difference to what
float32 rounding allows. Prints the number of cases and the worst share of its tolerance that any took; a case that
fails is printed with its seed, which repeats it: `--first SEED --count 1`.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from onnxcomp.formats import sparse_conv, unified
from tests.runtime.basis_models import BasisCase, basis_case, basis_model, basis_tolerance
from tests.runtime.sparse_models import (
    Array,
    Case,
    dense_output,
    random_case,
    run,
    sparse_model,
    structured_case,
    tolerance,
)
from tests.runtime.unified_models import UnifiedCase, random_weight, unified_model, unified_tolerance

MOST_PRODUCTS = 2e7  # multiply-adds of a case: some milliseconds
STRUCTURES = (sparse_conv.UNSTRUCTURED, sparse_conv.UNSTRUCTURED, "4x1", "16x1", "2:16", "4:16")


def draw(seed: int) -> Case:
    """The case of `seed`, with zeros of any structure."""
    return draw_structured(seed, str(np.random.default_rng([seed, 1]).choice(STRUCTURES)))


def draw_basis(seed: int) -> BasisCase:
    """A case like those of SparseConv with kernels that share 1 to 7 bases."""
    return basis_case(draw_structured(seed, sparse_conv.UNSTRUCTURED), 1 + seed % 7, seed)


def draw_unified(seed: int) -> UnifiedCase:
    """The same with a weight in blocks of any size that divides it, some of them zero, some free."""
    rng = np.random.default_rng([seed, 2])
    conv = draw_structured(seed, sparse_conv.UNSTRUCTURED)
    outputs, channels = conv.weight.shape[:2]
    blocks = [(o, i) for o in (16, 8, 4, 3, 1) for i in (8, 4, 2, 1) if outputs % o == channels % i == 0]
    block = blocks[int(rng.integers(min(3, len(blocks))))]
    levels = ((1.0,), (1.0, 0.0), (1.0, 0.5, 0.0))[int(rng.integers(3))]
    zero, free = float(rng.choice([0, 0.3, 0.8, 1])), float(rng.choice([0, 0, 0.2]))
    conv.weight = random_weight(conv.weight.shape, block, levels, zero, free, seed)
    return UnifiedCase(conv, unified.encode(conv.weight, block, levels))


def draw_structured(seed: int, structure: str) -> Case:
    """Any convolution that ONNX Runtime's Conv runs too, none of them slow."""
    rng = np.random.default_rng(seed)
    rank = int(rng.choice([1, 2, 2, 2]))
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


def sparse_outputs(seed: int) -> tuple[Array, Array, Array]:
    """Of the case of `seed`: what the library gives, what ONNX Runtime gives, and how far they may be apart."""
    case = draw(seed)
    return run(sparse_model(case), case.feed), dense_output(case), tolerance(case)


def basis_outputs(seed: int) -> tuple[Array, Array, Array]:
    """The same of a BasisConv."""
    case = draw_basis(seed)
    return run(basis_model(case), case.conv.feed), dense_output(case.conv), basis_tolerance(case)


def unified_outputs(seed: int) -> tuple[Array, Array, Array]:
    """The same of a UnifiedConv."""
    case = draw_unified(seed)
    return run(unified_model(case), case.conv.feed), dense_output(case.conv), unified_tolerance(case)


OPERATORS: Mapping[str, Callable[[int], tuple[Array, Array, Array]]] = {
    "SparseConv": sparse_outputs,
    "BasisConv": basis_outputs,
    "UnifiedConv": unified_outputs,
}


def shares(operator: str, seeds: range) -> Iterator[tuple[int, float]]:
    """Each seed with the largest share of its tolerance that an output takes; infinity for another shape."""
    for seed in seeds:
        got, want, allowed = OPERATORS[operator](seed)
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
    parser.add_argument("operator", choices=OPERATORS)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    worst = 0.0
    failed = 0
    for seed, share in shares(options.operator, range(options.first, options.first + options.count)):
        worst = max(worst, share)
        if not share <= 1:
            failed += 1
            print(f"seed {seed}: {share:.2f} of the tolerance: {draw(seed).attributes}")  # noqa: T201
    print(f"{options.count} cases, {failed} failed, worst {worst:.3f} of the tolerance")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
