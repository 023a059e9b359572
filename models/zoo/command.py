"""The command line that every network script shares: options in, one ONNX file and one line about it out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import onnx

from zoo.builder import Builder, BuildError, Cost, Feature, Recipe
from zoo.weights import BLOCK_HEIGHTS, is_pattern, own_sparsity

LayersOf = Callable[[Builder, Feature, int], Feature]


@dataclass(frozen=True)
class Architecture:
    """A network: `layers(builder, image, classes)` returns the logits; `normalised` ones have BatchNormalization."""

    name: str
    layers: LayersOf
    image_size: int
    classes: int
    normalised: bool

    def build(
        self, recipe: Recipe | None = None, *, image_size: int | None = None, classes: int | None = None
    ) -> tuple[onnx.ModelProto, Cost]:
        """The model and what it costs; BuildError where the image is too small for the network."""
        recipe = recipe or Recipe()
        builder = Builder(recipe, image_size=image_size or self.image_size, normalised=self.normalised)
        logits = self.layers(builder, builder.image, classes or self.classes)
        metadata = {"network": self.name, **{key: str(value) for key, value in asdict(recipe).items()}}
        return builder.finish(self.name, logits, metadata), builder.cost


def main(
    default: Architecture, variants: Mapping[str, Architecture] | None = None, arguments: Sequence[str] | None = None
) -> None:
    """Run a network script: each of `variants` has a flag of its name that picks it over the `default`.

    A mistake of the user's ends the program with one line on stderr and status 2.
    """
    options = _parser(default, variants or {}).parse_args(arguments)
    out: Path = options.out
    try:
        model, cost = options.variant.build(_recipe(options), image_size=options.image_size, classes=options.classes)
        out.write_bytes(model.SerializeToString(deterministic=True))
    except BuildError as error:
        sys.exit(_fail(str(error)))
    except OSError as error:
        sys.exit(_fail(f"cannot write {out}: {error.strerror}; name a file in a folder that exists and is writable"))
    print(
        f"{out}: {options.variant.name}, {cost.parameters:,} parameters, {cost.macs:,} MACs, "
        f"{cost.zeros:,} of {cost.weights:,} weights are zero"
    )


def _recipe(options: argparse.Namespace) -> Recipe:
    own = own_sparsity(options.pattern) or 0.0
    return Recipe(
        seed=options.seed,
        sparsity=own if options.sparsity is None else options.sparsity,
        pattern=options.pattern,
        include_first=options.include_first,
        fully_connected=options.fully_connected,
        batchnorm=options.batchnorm,
    )


class _OneLineParser(argparse.ArgumentParser):
    """Reports a mistake without the usage text in front of it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _parser(default: Architecture, variants: Mapping[str, Architecture]) -> argparse.ArgumentParser:
    parser = _OneLineParser(description=f"Write {default.name} as ONNX, with random weights.")
    parser.add_argument("out", type=Path, metavar="OUT.onnx", help="the file to write")
    parser.add_argument("--seed", type=natural, default=0, help="of all random numbers (default 0)")
    text = "share of zeros in a sparse layer, 0 to 1 (default 0, or what n:16 leaves)"
    parser.add_argument("--sparsity", type=_share, help=text)
    text = f"of the zeros: {', '.join(BLOCK_HEIGHTS)}, n:16 (default unstructured)"
    parser.add_argument("--pattern", type=pattern, default="unstructured", help=text)
    parser.add_argument("--include-first", action="store_true", help="make the first Conv sparse too")
    parser.add_argument("--fully-connected", action="store_true", help="make the Gemm layers sparse too")
    parser.add_argument("--image-size", type=_positive, help=f"height and width (default {default.image_size})")
    parser.add_argument("--classes", type=_positive, help=f"number of logits (default {default.classes})")
    if default.normalised:
        text = "keep BatchNormalization (default), or fold it into the Convs"
        parser.add_argument("--batchnorm", action=argparse.BooleanOptionalAction, default=True, help=text)
    for flag, variant in variants.items():
        parser.add_argument(
            f"--{flag}",
            dest="variant",
            action="store_const",
            const=variant,
            help=f"the {variant.image_size} x {variant.image_size} form with {variant.classes} classes",
        )
    parser.set_defaults(variant=default, **({} if default.normalised else {"batchnorm": True}))
    return parser


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def pattern(text: str) -> str:
    """An option's value that names a pattern of zeros."""
    if not is_pattern(text):
        raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(BLOCK_HEIGHTS)} and n:16 with n from 1 to 15")
    return text


def natural(text: str) -> int:
    """An option's value that is a whole number and not negative."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value
