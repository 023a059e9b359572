"""Seeded inputs: reproducible, independent of the batch, of a shape that the model runs on."""

import numpy as np
import pytest
from onnx import parser

from onnxcomp.calibration import InputSpec, data_for, inputs_of, random_data
from onnxcomp.errors import DataError
from onnxcomp.runtime.session import session


def spec(*shape: int | str | None, name: str = "x", dtype: object = np.float32) -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


def test_the_same_samples_whatever_the_batch() -> None:
    specs = [spec("N", 3, 4), spec("N", name="ids", dtype=np.int64)]
    ones, sevens = (random_data(specs, count=10, seed=3) for _ in range(2))
    a = [np.concatenate([feed[name] for feed in ones.batches(1)]) for name in ("x", "ids")]
    b = [np.concatenate([feed[name] for feed in sevens.batches(7)]) for name in ("x", "ids")]
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert ones.hash == sevens.hash != random_data(specs, count=10, seed=4).hash
    assert ones.count == 10 and "seed 3" in ones.notes[0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_normal(dtype: type) -> None:
    x = next(random_data([spec("N", 5000, dtype=dtype)], batch=2).batches(2))["x"]
    assert x.dtype == dtype and abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.05


@pytest.mark.parametrize(("dtype", "top"), [(np.int64, 9), (np.int32, 9), (np.uint8, 255), (np.bool_, 1), (np.int8, 9)])
def test_integers_are_small_and_not_negative(dtype: type, top: int) -> None:
    x = next(random_data([spec("N", 5000, dtype=dtype)]).batches(1))["x"]
    assert x.dtype == dtype and x.min() == 0 and x.max() == top


def test_dimensions_that_are_free() -> None:
    def shape(*dims: int | str | None, **options: object) -> tuple[int, ...]:
        return next(random_data([spec(*dims)], **options).batches(2))["x"].shape

    assert shape("N", 3, "H", "W", batch=2) == (2, 3, 224, 224)
    assert shape("N", 3, None, "W", batch=2, dims={"W": 7}) == (2, 3, 224, 7)
    assert shape(4, 3, "H", batch=2) == (4, 3, 224)
    assert shape(4, 3, batch=2, count=5) == (4, 3)


def test_sides_are_tried_until_the_model_runs() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[N, C, H, W] x) => (float[1, 3, 32, 32] y)
              <int64[4] shape = {1, 3, 32, 32}> { y = Reshape(x, shape) }"""
    plain = session(parser.parse_model(text).SerializeToString(), threads=1, library=False)
    feed = next(data_for(plain, None, dims={"C": 3}).batches(1))
    assert feed["x"].shape == (1, 3, 32, 32)


def test_nothing_runs() -> None:
    tried = []

    def probe(feed: dict[str, np.ndarray]) -> bool:
        tried.append(feed["x"].shape[2])
        return False

    with pytest.raises(DataError, match=r"'x' float32\[N, 3, H\]; give inputs with --data"):
        random_data([spec("N", 3, "H")], probe=probe)
    assert len(tried) == len(set(tried)) > 5 and tried[0] == 224


def test_inputs_of_a_session() -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 3, H] x, uint8[2] k) => (uint8[2] y) { y = Identity(k) }'
    )
    found = inputs_of(session(parser.parse_model(text).SerializeToString(), threads=1, library=False))
    assert found == [spec("N", 3, "H"), spec(2, name="k", dtype=np.uint8)]


def test_inputs_that_no_array_feeds() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (seq(float[N]) x) => (int64 y) { y = SequenceLength(x) }'
    with pytest.raises(DataError, match=r"input 'x' is a seq\(tensor\(float\)\)"):
        inputs_of(session(parser.parse_model(text).SerializeToString(), threads=1, library=False))


def test_data_for_a_loaded_model_from_a_source() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 2] x) => (float[N, 2] y) { y = Identity(x) }'
    plain = session(parser.parse_model(text).SerializeToString(), threads=1, library=False)
    assert data_for(plain, {"x": np.ones((5, 2))}).count == 5
