"""From what a user gives after --data, or in Python, to `Data`."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxcomp.calibration import arrays, callables, images
from onnxcomp.calibration.data import Data
from onnxcomp.calibration.inputs import InputSpec, inputs_of
from onnxcomp.calibration.samples import Source
from onnxcomp.calibration.synthetic import random_data
from onnxcomp.errors import DataError
from onnxcomp.runtime.session import runs
from onnxcomp.user_code import NAME


def open_data(
    source: object,
    inputs: Sequence[InputSpec | tuple[str, Any, Sequence[int | str | None]]],
    *,
    image_size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layout: images.Layout = "nchw",
) -> Data:
    """Data for a model with `inputs` (name, element type, shape).

    `source` is an .npz, an .npy, a folder of images or a `module:function`; in Python also a mapping of arrays, one
    array, or a function. The last four options are for images alone. The first sample is read, to find out early what
    does not fit. Raises DataError, one line, for whatever is wrong.
    """
    specs = [i if isinstance(i, InputSpec) else InputSpec(i[0], np.dtype(i[1]), tuple(i[2])) for i in inputs]
    folder = isinstance(source, str | Path) and Path(source).is_dir()
    if folder:
        data = Data(images.from_folder(Path(str(source)), specs, image_size, mean, std, layout), specs)
    elif any(option is not None for option in (image_size, mean, std)):
        raise DataError(f"{_name(source)}: --image-size, --mean and --std are for a folder of images; leave them out")
    else:
        data = Data(_source(source, specs), specs)
    data.check()
    return data


def data_for(
    session: ort.InferenceSession,
    source: object | None,
    *,
    batch: int = 1,
    count: int | None = None,
    seed: int = 0,
    dims: Mapping[str, int] | None = None,
    **images_only: Any,
) -> Data:
    """Data for a loaded model: `open_data(source)`, or where that is None seeded inputs that the model runs on.

    `batch`, `count`, `seed` and `dims` are `random_data`'s, the rest `open_data`'s.
    """
    specs = inputs_of(session)
    if source is not None:
        return open_data(source, specs, **images_only)
    probe = partial(runs, session)
    return random_data(specs, batch=batch, count=count, seed=seed, dims=dims, probe=probe)


def _source(source: object, specs: Sequence[InputSpec]) -> Source:
    if isinstance(source, Mapping):
        return arrays.from_mapping(source, specs)
    if isinstance(source, np.ndarray):
        return arrays.from_mapping({"array": source}, specs)
    if not isinstance(source, str | Path):
        return callables.from_function(source, specs)
    if Path(source).exists():
        return arrays.from_file(Path(source), specs)
    if NAME.fullmatch(str(source)):
        return callables.from_name(str(source), specs)
    raise DataError(f"{source}: no such file or folder; give an .npz, an .npy, a folder of images or module:function")


def _name(source: object) -> str:
    return str(source) if isinstance(source, str | Path) else "the data given"
