"""Files and mappings of arrays as data: what is taken, and every way in which they do not fit."""

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcomp.calibration import Data, InputSpec, open_data
from onnxcomp.errors import DataError

IMAGE = ("input", np.float32, ["N", 3, 4, 5])


def images(count: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, 3, 4, 5)).astype(dtype)


def joined(data: Data, batch: int | None = None, name: str = "input") -> np.ndarray:
    return np.concatenate([feed[name] for feed in data.batches(batch)])


@pytest.fixture(params=["npz", "npz-deflated", "npy", "npy-column-major", "mapping", "array"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """The same ten images in every form."""
    x = images(10)
    path = tmp_path / "x"
    match request.param:
        case "npz":
            np.savez(path, input=x)
        case "npz-deflated":
            np.savez_compressed(path, input=x)
        case "npy":
            np.save(path, x)
        case "npy-column-major":
            np.save(path, np.asfortranarray(x))
        case "mapping":
            return {"input": x}
        case "array":
            return x
    return next(tmp_path.iterdir())


@pytest.mark.parametrize(("batch", "lengths"), [(None, [8, 2]), (1, [1] * 10), (4, [4, 4, 2]), (64, [10])])
def test_every_form_gives_the_same_batches(source: object, batch: int | None, lengths: list[int]) -> None:
    data = open_data(source, [IMAGE])
    assert [len(feed["input"]) for feed in data.batches(batch)] == lengths
    for _ in range(2):
        np.testing.assert_array_equal(joined(data, batch), images(10))
    assert (data.count, data.used, data.labels, data.nonfinite, data.notes) == (10, 10, None, {}, ())


def test_hash_is_of_the_content(source: object) -> None:
    expected = open_data({"input": images(10)}, [IMAGE]).hash
    assert open_data(source, [IMAGE]).hash == expected
    changed = images(10)
    changed[9, 2, 3, 4] += 1
    assert open_data({"input": changed}, [IMAGE]).hash != expected
    assert open_data({"input": images(10)[:9]}, [IMAGE]).hash != expected


def test_labels_and_the_arrays_left_over(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", input=images(5), labels=np.arange(5), weights=np.zeros(3))
    data = open_data(tmp_path / "d.npz", [IMAGE])
    assert data.labels is not None and data.labels.tolist() == [0, 1, 2, 3, 4]
    assert len(data.notes) == 1 and "'weights' not used" in data.notes[0]


def test_one_array_needs_no_name_beside_labels() -> None:
    data = open_data({"x": images(3), "labels": [1, 2, 3]}, [IMAGE])
    assert joined(data).shape == (3, 3, 4, 5) and data.labels is not None


def test_an_input_called_labels_is_an_input() -> None:
    data = open_data({"labels": np.zeros((2, 7), np.float32)}, [("labels", np.float32, ["N", 7])])
    assert data.labels is None and joined(data, name="labels").shape == (2, 7)


def test_several_inputs_are_cut_together() -> None:
    specs = [("a", np.float32, ["N", 2]), ("b", np.int64, ["N"])]
    a, b = np.arange(10, dtype=np.float32).reshape(5, 2), np.arange(5)
    feeds = list(open_data({"b": b, "a": a}, specs).batches(2))
    assert [feed["b"].tolist() for feed in feeds] == [[0, 1], [2, 3], [4]]
    assert all(list(feed) == ["a", "b"] for feed in feeds)
    np.testing.assert_array_equal(np.concatenate([feed["a"] for feed in feeds]), a)


def test_fixed_batch_leaves_the_rest_out_and_says_so() -> None:
    data = open_data({"input": images(10), "labels": np.arange(10)}, [("input", np.float32, [4, 3, 4, 5])])
    assert [len(feed["input"]) for feed in data.batches(1)] == [4, 4]
    assert (data.count, data.used, data.fixed_batch) == (10, 8, 4)
    assert data.labels is not None and len(data.labels) == 8
    assert "last 2 of 10" in data.notes[0]
    assert data.describe()["used"] == 8


def test_not_a_number_is_allowed_and_reported() -> None:
    x = images(40)
    x[0, 0, 0, 0] = x[35, 0, 0, 0] = np.nan
    x[1, 0, 0, 0] = -np.inf
    data = open_data({"input": x}, [IMAGE])
    assert data.nonfinite == {"input": {"nan": 2, "inf": 1}}
    assert data.notes == ("input 'input' holds 2 NaN and 1 Inf",)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, np.float16, np.bool_, ">f4"])
def test_lossless_casts(dtype: type) -> None:
    x = images(2).astype(dtype)
    found = joined(open_data({"input": x}, [IMAGE]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, x.astype(np.float32))


@pytest.mark.parametrize(
    ("value", "dtype", "wanted"),
    [
        (np.array([1.5]), np.float32, np.int64),
        (np.array([1 << 24 | 1], np.int64), np.int64, np.float32),
        (np.array([1 << 53 | 1], np.int64), np.int64, np.float64),
        (np.array([-1], np.int64), np.int64, np.uint64),
        (np.array([300], np.int64), np.int64, np.uint8),
        (np.array([1e39]), np.float64, np.float32),
        (np.array([70000.0], np.float32), np.float32, np.float16),
        (np.array([1j]), np.complex64, np.float32),
        (np.array(["a"]), np.str_, np.float32),
    ],
)
def test_casts_that_would_change_values_are_refused(value: np.ndarray, dtype: type, wanted: type) -> None:
    with pytest.raises(DataError, match=f"takes {np.dtype(wanted).name}.*convert it"):
        open_data({"x": value.astype(dtype)}, [("x", wanted, ["N"])])


@settings(deadline=None)
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), wanted=st.sampled_from("bBhHiIlLfd"))
def test_integers_arrive_as_they_are_or_not_at_all(values: list[int], wanted: str) -> None:
    try:
        found = joined(open_data({"x": np.array(values, np.int64)}, [("x", wanted, ["N"])]), name="x")
    except DataError:
        return
    assert [int(value) for value in found] == values


def test_float64_rounds_to_float32_but_keeps_infinity() -> None:
    x = np.array([0.1, np.inf, np.nan])
    found = joined(open_data({"x": x}, [("x", np.float32, ["N"])]), name="x")
    np.testing.assert_array_equal(found, x.astype(np.float32))


def bad(message: str, arrays: dict[str, object], *specs: object) -> object:
    return pytest.param(arrays, specs or (IMAGE,), message, id=message)


@pytest.mark.parametrize(
    ("arrays", "specs", "message"),
    [
        bad("channels last: transpose it with", {"input": np.zeros((2, 4, 5, 3))}),
        bad("channels first", {"input": np.zeros((2, 3, 4, 5))}, ("input", np.float32, ["N", 4, 5, 3])),
        bad("axis that counts samples", {"input": np.zeros((3, 4, 5))}),
        bad("reshape it", {"input": np.zeros((2, 3, 9, 9))}),
        bad("holds no samples", {"input": np.zeros((0, 3, 4, 5))}),
        bad("has no arrays", {}),
        bad("has 'x', 'y', the model's inputs are 'input'", {"x": np.zeros((2, 3, 4, 5)), "y": np.zeros(2)}),
        bad("inputs are 'a', 'b'", {"a": np.zeros(2)}, ("a", np.float32, ["N"]), ("b", np.float32, ["N"])),
        bad("unequal numbers of samples: input 2, labels 3", {"input": np.zeros((2, 3, 4, 5)), "labels": np.zeros(3)}),
        bad("unequal numbers of samples: input 2, labels 0", {"input": np.zeros((2, 3, 4, 5)), "labels": 3}),
        bad("holds Python objects", {"input": [{}, None]}),
        bad("not an array", {"input": [[1, 2], [3]]}),
        bad("do not fill the model's fixed batch of 4", {"x": np.zeros(3)}, ("x", np.float32, [4])),
        bad("share no first dimension", {"x": np.zeros(3), "s": 1}, ("x", "f4", ["N"]), ("s", "f4", [])),
        bad("share no first dimension", {"x": [0, 0], "y": [0, 0, 0]}, ("x", "f4", [2]), ("y", "f4", [3])),
    ],
)
def test_arrays_that_do_not_fit(arrays: dict[str, object], specs: list[tuple], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_data(arrays, specs)
    assert "\n" not in str(caught.value)


def test_a_model_without_inputs() -> None:
    with pytest.raises(DataError, match="no inputs to feed"):
        open_data({"x": np.zeros(1)}, [])


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def archive(content: bytes, name: str = "input.npy") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(name, content)
    return buffer.getvalue()


def damaged(whole: bytes) -> bytes:
    """The same archive with a byte of the stored array turned over."""
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "neither .npz nor .npy", id="empty"),
        pytest.param(b"text, not arrays\n", "neither .npz nor .npy", id="text"),
        pytest.param(b"PK\x03\x04 and nothing more", "not an .npz", id="broken zip"),
        pytest.param(npy(images(9))[:100], "not an array", id="header cut"),
        pytest.param(npy(images(9))[:-1], "truncated", id="one byte short"),
        pytest.param(archive(npy(images(9))[:-1]), "truncated", id="member one byte short"),
        pytest.param(archive(b"hello"), "not an array", id="member no array"),
        pytest.param(npy(np.array([{}, {}])), "pickled Python objects, which are never loaded", id="pickle"),
        pytest.param(archive(npy(np.array([{}, {}]))), "pickled Python objects", id="pickle in npz"),
        pytest.param(archive(npy(np.zeros(3)), "a.npy")[:-30], "not an .npz", id="zip cut"),
    ],
)
def test_files_that_are_no_arrays(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_data(path, [IMAGE])
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_damage_found_while_reading(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((200, 3, 4, 5))
    np.savez_compressed(tmp_path / "d.npz", input=x)
    (tmp_path / "d.npz").write_bytes(damaged((tmp_path / "d.npz").read_bytes()))
    with pytest.raises(DataError, match=r"d\.npz.*(damaged|not an)"):
        list(open_data(tmp_path / "d.npz", [IMAGE]).batches(8))


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder; give"):
        open_data(tmp_path / "nothing.npz", [IMAGE])


def test_image_options_are_for_folders() -> None:
    with pytest.raises(DataError, match="are for a folder of images"):
        open_data({"input": images(2)}, [IMAGE], mean=[127])


def test_memory_stays_bounded_whatever_the_file(tmp_path: Path) -> None:
    """A member of 256 MB is read in batches: what is held at a time is a batch and a few buffers."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 12, 1 << 14)}
    with (
        zipfile.ZipFile(tmp_path / "big.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target,
        target.open("input.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(1 << 8):
            member.write(bytes(1 << 20))
    data = open_data(tmp_path / "big.npz", [("input", np.float32, ["N", 1 << 14])])
    tracemalloc.start()
    try:
        assert sum(len(feed["input"]) for feed in data.batches(16)) == 1 << 12
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_specs_may_be_given_ready_made() -> None:
    spec = InputSpec("x", np.dtype(np.float32), (None, 2))
    assert str(spec) == "float32[?, 2]"
    assert joined(open_data({"x": np.ones((3, 2))}, [spec]), name="x").shape == (3, 2)
