"""Measure what onnxcomp is worth against ONNX Runtime: `python benchmarks/run.py layers resnet50 --threads 1 2`.

Prints a table for each figure and checks every answer. Status 1 where an answer is wrong, 2 for a mistake in the
command. See README.md beside this file.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from figures import (
    accuracy,
    auto,
    basis,
    caffenet,
    compression,
    factored,
    layers,
    methods,
    networks,
    unification,
    unified,
)
from figures.effort import FULL, QUICK, Request
from figures.figure import Figure
from figures.networks import NETWORKS
from figures.plot import draw
from onnxcomp.cost.host import host
from onnxcomp.errors import OnnxcompError
from zoo.command import pattern

FIGURES: Mapping[str, Callable[[Request], Iterator[Figure]]] = {
    "layers": layers.measure,
    "basis": basis.measure,
    "unified": unified.measure,
    "factored": factored.measure,
    "caffenet": caffenet.measure,
    "auto": auto.measure,
    "accuracy": accuracy.measure,
    "unification": unification.measure,
    "compression": compression.measure,
    "methods": methods.measure,
    **{name: partial(networks.measure, name) for name in NETWORKS},
}
GROUPS = {"networks": tuple(NETWORKS), "all": tuple(FIGURES)}
_PIPED_WIDTH = 160  # columns, where nobody's terminal sets them


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit status."""
    options = _parser().parse_args(arguments)
    for given, folder in ((options.json, options.json and options.json.parent), (options.plots, options.plots)):
        if folder and not folder.is_dir():  # before minutes of measuring, not after
            return _fail(f"{given}: No such file or directory")
    if options.plots and not find_spec("adjustText"):
        return _fail("--plots needs adjustText: pip install 'onnxcomp[plots]'")
    console = _console()
    figures = []
    try:
        for figure in _measured(options):
            figures.append(figure)
            _print(figure, console)
            if options.plots and figure.axes:
                draw(figure, figure.axes, options.plots / f"{figure.name}.svg")
        machine = host(max(options.threads))
        console.print(Text(f"{machine.cpu}, {machine.isa}, ONNX Runtime {machine.onnxruntime}"))
        if options.json:
            value = {"schema": 1, "host": machine.to_json(), "figures": [figure.to_json() for figure in figures]}
            _write_json(options.json, value)
    except OnnxcompError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}")
    return 1 if any(figure.faults for figure in figures) else 0


def _measured(options: argparse.Namespace) -> Iterator[Figure]:
    request = Request(
        threads=tuple(options.threads),
        sparsities=tuple(options.sparsity),
        batches=tuple(options.batch),
        structure=options.structure,
        effort=QUICK if options.quick else FULL,
    )
    names = [one for name in options.names for one in GROUPS.get(name, (name,))]
    for name in dict.fromkeys(names):
        yield from FIGURES[name](request)


def _print(figure: Figure, console: Console) -> None:
    console.print(figure.table())
    for note in figure.notes:
        console.print(Text(note))
    for fault in figure.faults:
        console.print(Text(f"WRONG ANSWER: {fault}", style="bold red"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure onnxcomp against ONNX Runtime, in turns, answers checked.")
    parser.add_argument(
        "names", nargs="+", choices=[*FIGURES, *GROUPS], metavar="NAME", help=", ".join([*FIGURES, *GROUPS])
    )
    parser.add_argument("--threads", nargs="+", type=_positive, default=[1, 2], help="default: 1 2")
    parser.add_argument("--sparsity", nargs="+", type=_share, default=[0.9, 0.95], help="default: 0.9 0.95")
    parser.add_argument("--batch", nargs="+", type=_positive, default=[1, 16], help="of networks; default: 1 16")
    parser.add_argument(
        "--structure", type=pattern, default="unstructured", help="of the zeros: unstructured, 4x1, 16x1, n:16"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds, small images: to see that everything works")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="also draw the figures that have a plot, as SVG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 0 and below 1")
    return value


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    return console


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")


def _fail(message: str) -> int:
    print(f"benchmarks: {message}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(main())
