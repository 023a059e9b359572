"""Plots in files of their own. matplotlib, which takes half a second to import, is imported where one is drawn."""

from pathlib import Path

import numpy as np

from onnxcomp.cost.host_profile import HostProfile
from onnxcomp.errors import UsageError

_SUFFIXES = (".png", ".svg")
_WIDTH_INCHES, _ROW_INCHES, _FRAME_INCHES = 8.0, 0.32, 1.4


def check_plot(path: Path | None) -> None:
    """UsageError for a file that is neither PNG nor SVG by its name, or whose folder is missing."""
    if path is None:
        return
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"--plot {path}: give a name that ends in .png or .svg")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {path}: there is no folder {path.parent}")


def plot_host(profile: HostProfile, path: Path) -> None:
    """Break-even sparsity by layer class, as bars: what lies to the right of one is faster sparse.

    Raises UsageError where `path` cannot be written, or the profile has no break-evens to draw.
    """
    check_plot(path)
    if not profile.break_evens:
        raise UsageError(f"--plot {path}: there are no break-evens to draw: {profile.library}")
    from matplotlib.figure import Figure

    layers = profile.break_evens[::-1]  # matplotlib counts from the bottom
    rows = np.arange(len(layers))
    figure = Figure(figsize=(_WIDTH_INCHES, _FRAME_INCHES + _ROW_INCHES * len(layers)), layout="constrained")
    axes = figure.subplots()
    axes.barh(rows, [1.0 if one.sparsity is None else one.sparsity for one in layers], color="#9db4c8")
    for row, one in zip(rows, layers, strict=True):
        text = "dense wins" if one.sparsity is None else f"{one.sparsity:.0%}"
        axes.text(0.01, float(row), f"{text}, {one.speedup_at_90:.1f}x at 90 %", va="center", fontsize=8)
    axes.set_yticks(rows, [one.layer for one in layers], fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of zeros from which the sparse kernel is faster")
    machine = profile.host
    axes.set_title(f"{machine.cpu}, {machine.isa}, threads: {machine.threads}", fontsize=9)
    try:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    except OSError as error:
        raise UsageError(f"--plot {path}: cannot be written: {error.strerror}") from error
