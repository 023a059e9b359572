"""A folder of images as a source.

    input[n, c, y, x] = (pixel - mean[c]) / std[c]      pixels 0..255

Pixels are RGB, or grey or RGBA where the input has one or four channels. Images lie in the folder or one level below,
in order of path; each is resized to the input's height and width, without regard to its proportions. Sub-folders named
0, 1, ... are labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onnxcomp.calibration.inputs import Dim, InputSpec
from onnxcomp.calibration.samples import Samples
from onnxcomp.errors import DataError

Layout = Literal["nchw", "nhwc"]

_MODES = MappingProxyType({1: "L", 3: "RGB", 4: "RGBA"})


@dataclass(frozen=True)
class Preprocess:
    """What happens to an image: sizes in pixels, `mean` and `std` in pixel units, one a channel."""

    height: int
    width: int
    mode: str
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    layout: Layout

    def __call__(self, path: Path) -> NDArray[Any]:
        """The image as one sample; uint8 where there is nothing to subtract or divide. Raises DataError."""
        try:
            with Image.open(path) as image:
                small = image.convert(self.mode).resize((self.width, self.height), Image.Resampling.BILINEAR)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: not an image that Pillow can read ({error}); remove it") from error
        pixels = np.asarray(small).reshape(self.height, self.width, -1)
        if self.mean.any() or (self.std != 1).any():
            pixels = (pixels - self.mean) / self.std
        return pixels.transpose(2, 0, 1) if self.layout == "nchw" else pixels


@dataclass(frozen=True)
class ImageSource:
    """Decoded when read, a batch at a time."""

    name: str
    paths: tuple[Path, ...]
    labels: NDArray[Any] | None
    input: str
    preprocess: Preprocess
    kind: str = "images"
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(self.paths)

    def read(self, size: int) -> Iterator[Samples]:
        for start in range(0, len(self.paths), size):
            yield Samples({self.input: np.stack([self.preprocess(p) for p in self.paths[start : start + size]])})


def from_folder(
    folder: Path,
    inputs: Sequence[InputSpec],
    image_size: int | tuple[int, int] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    layout: Layout,
) -> ImageSource:
    """The images of `folder` for a model with one image input. `image_size` is a side, or height and width."""
    if len(inputs) != 1:
        raise DataError(f"{folder}: a folder of images feeds one input, the model has {len(inputs)}; give an .npz")
    paths = _find(folder)
    preprocess = _preprocess(folder, inputs[0], image_size, mean, std, layout)
    return ImageSource(str(folder), paths, _labels(folder, paths), inputs[0].name, preprocess)


def _find(folder: Path) -> tuple[Path, ...]:
    suffixes = Image.registered_extensions()
    files = [*folder.glob("*"), *folder.glob("*/*")]
    paths = tuple(
        sorted(p for p in files if p.suffix.lower() in suffixes and not p.name.startswith(".") and p.is_file())
    )
    if not paths:
        raise DataError(f"{folder}: no images in it or in its sub-folders; give a folder of PNG or JPEG files")
    return paths


def _labels(folder: Path, paths: Sequence[Path]) -> NDArray[Any] | None:
    names = [path.parent.name if path.parent != folder else "" for path in paths]
    return np.array([int(name) for name in names], np.int64) if all(name.isdecimal() for name in names) else None


def _preprocess(
    folder: Path,
    spec: InputSpec,
    image_size: int | tuple[int, int] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    layout: Layout,
) -> Preprocess:
    if len(spec.shape) != 4:
        raise DataError(f"{folder}: input '{spec.name}' takes {spec}, not batches of images; give an .npz")
    channels, height, width = spec.shape[1:] if layout == "nchw" else (spec.shape[3], *spec.shape[1:3])
    channels = channels if isinstance(channels, int) else 3
    if channels not in _MODES:
        raise DataError(
            f"{folder}: input '{spec.name}' takes {spec}, whose channels no image has; check --layout {layout}"
        )
    height, width = _size(folder, spec, (height, width), image_size)
    means, stds = _per_channel("--mean", mean, channels, 0.0), _per_channel("--std", std, channels, 1.0)
    if (stds < 1).any():
        raise DataError(f"--std {min(stds):g}: mean and std are in pixel units, 0 to 255; multiply both by 255")
    return Preprocess(height, width, _MODES[channels], means, stds, layout)


def _size(
    folder: Path, spec: InputSpec, declared: tuple[Dim, Dim], asked: int | tuple[int, int] | None
) -> tuple[int, int]:
    wanted = (asked, asked) if isinstance(asked, int) else asked or declared  # None: as the input declares
    height, width = wanted
    if not isinstance(height, int) or not isinstance(width, int):
        raise DataError(f"{folder}: input '{spec.name}' takes {spec}, any size; say which with --image-size")
    if min(height, width) < 1:
        raise DataError(f"--image-size {height}x{width}: give at least 1 pixel")
    for side, want in zip((height, width), declared, strict=True):
        if isinstance(want, int) and want != side:
            raise DataError(f"--image-size {height}x{width}: input '{spec.name}' takes {spec}; leave the option out")
    return height, width


def _per_channel(option: str, values: Sequence[float] | None, channels: int, default: float) -> NDArray[np.float32]:
    given = [default] if values is None else list(values)
    if len(given) not in (1, channels):
        raise DataError(f"{option}: {len(given)} values for {channels} channels; give one, or one a channel")
    return np.full(channels, given, np.float32)
