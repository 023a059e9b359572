"""Functions as data: what they may yield, and how their faults are told."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from onnxcomp.calibration import open_data
from onnxcomp.errors import DataError

X = ("x", np.float32, ["N", 2])
Y = ("y", np.float32, ["N"])


def arrays() -> Iterator[np.ndarray]:
    for start in range(0, 6, 2):
        yield np.arange(2 * start, 2 * start + 4, dtype=np.float32).reshape(2, 2)


def single_samples() -> list[np.ndarray]:
    return [np.array([2 * i, 2 * i + 1]) for i in range(6)]


def dictionaries() -> Iterator[dict[str, np.ndarray]]:
    return ({"x": x} for x in arrays())


def with_labels() -> Iterator[tuple[np.ndarray, list[int]]]:
    return ((x, [7, 8]) for x in arrays())


@pytest.mark.parametrize("function", [arrays, single_samples, dictionaries, with_labels])
@pytest.mark.parametrize("batch", [None, 1, 4])
def test_every_kind_of_feed_comes_to_the_same(function: Callable[[], object], batch: int | None) -> None:
    data = open_data(function, [X])
    for _ in range(2):
        found = np.concatenate([feed["x"] for feed in data.batches(batch)])
        np.testing.assert_array_equal(found, np.arange(12, dtype=np.float32).reshape(6, 2))
    assert data.count == data.used == 6
    assert data.hash == open_data({"x": found}, [X]).hash
    labels = [7, 8] * 3 if function is with_labels else None
    assert (None if data.labels is None else data.labels.tolist()) == labels


def test_one_label_for_one_sample() -> None:
    data = open_data(lambda: [(np.zeros(2), 3), (np.ones(2), 4)], [X])
    assert data.labels is not None and data.labels.tolist() == [3, 4]


def test_a_fixed_batch_is_filled() -> None:
    data = open_data(arrays, [("x", np.float32, [4, 2])])
    assert [len(feed["x"]) for feed in data.batches()] == [4]
    assert (data.count, data.used) == (6, 4)


def test_whole_feeds_for_inputs_that_share_no_batch() -> None:
    specs = [("x", np.float32, ["N", 2]), ("scale", np.float32, []), ("state", np.float32, [3])]

    def feeds() -> Iterator[dict[str, object]]:
        for scale in (0.5, 2.0):
            yield {"x": np.ones((4, 2)), "scale": scale, "state": np.zeros(3)}

    data = open_data(feeds, specs)
    assert [float(feed["scale"]) for feed in data.batches()] == [0.5, 2.0]
    assert data.count == 8
    with pytest.raises(DataError, match="share no first dimension"):
        next(data.batches(2))


def module(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text)


def test_module_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(tmp_path, "onnxcomp_test_feeds", "class Set:\n    @staticmethod\n    def feeds(): return [[1.0, 2.0]]\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    data = open_data("onnxcomp_test_feeds:Set.feeds", [X])
    assert [feed["x"].tolist() for feed in data.batches()] == [[[1.0, 2.0]]]
    assert data.describe()["source"] == "onnxcomp_test_feeds:Set.feeds"
    assert sys.path == before


OTHER = """
value = 3
generator = (x for x in [])
def fails_late():
    yield [1.0, 2.0]
    raise RuntimeError("too\\nlate")
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onnxcomp_no_such_module:f", "raised ModuleNotFoundError"),
        ("onnxcomp_test_broken:f", r"raised ZeroDivisionError: division by zero"),
        ("onnxcomp_test_other:missing", "has no 'missing'"),
        ("onnxcomp_test_other:value", "no function that can be called again"),
        ("onnxcomp_test_other:generator", "no function that can be called again"),
        ("onnxcomp_test_other:fails_late", "raised RuntimeError: too late"),
    ],
)
def test_modules_that_do_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    module(tmp_path, "onnxcomp_test_broken", "1 / 0\n")
    module(tmp_path, "onnxcomp_test_other", OTHER)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        list(open_data(name, [X]).batches())
    assert "\n" not in str(caught.value) and name in str(caught.value)
    sys.modules.pop("onnxcomp_test_other", None)


@pytest.mark.parametrize(
    ("function", "specs", "message"),
    [
        (lambda: [], [X], "holds no samples"),
        (lambda: None, [X], "raised TypeError"),
        (lambda: [np.zeros((2, 2))], [X, Y], "yield dictionaries of arrays by input name"),
        (lambda: [{"x": np.zeros((2, 2))}], [X, Y], "nothing for input 'y', only x"),
        (lambda: [{"x": np.zeros((2, 2)), "y": np.zeros(3)}], [X, Y], "unequal numbers of samples: x 2, y 3"),
        (lambda: [(np.zeros((2, 2)), [1])], [X], "unequal numbers of samples: x 2, labels 1"),
        (lambda: [(np.zeros((2, 2)), [1, 2]), np.zeros((2, 2))], [X], "2 of 4 samples have labels"),
        (lambda: [object()], [X], "is a object, not an array"),
        (lambda: [np.zeros((2, 5))], [X], "the data has"),
        (lambda: [np.zeros((3, 2))], [("x", np.float32, [4, 2])], "do not fill the model's fixed batch of 4"),
    ],
)
def test_feeds_that_do_not_fit(function: Callable[[], object], specs: list[tuple], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_data(function, specs).describe()


def test_a_generator_is_not_data() -> None:
    with pytest.raises(DataError, match="a generator is no function"):
        open_data(arrays(), [X])
