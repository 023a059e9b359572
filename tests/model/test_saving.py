"""Saving: whole or not at all, the same bytes every time, and the model that was there valid until it is replaced."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from onnxcomp.errors import ModelError
from onnxcomp.model import Model, saving
from tests.model.external_model import embedded, external_model, write


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def _changed(path: Path) -> Model:
    model = Model.load(path)
    tensor = model.graph.tensors()["first"]
    tensor.values = tensor.values + 1
    return model


def test_the_same_model_gives_the_same_bytes_whatever_was_there(tmp_path: Path) -> None:
    source = write(tmp_path)
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    Model.load(source).save(folders[0] / "out.onnx")
    _changed(source).save(folders[1] / "out.onnx")
    Model.load(source).save(folders[1] / "out.onnx")
    Model.load(source).save(folders[1] / "out.onnx")
    assert _files(folders[0]) == _files(folders[1])
    assert len(_files(folders[0])) == 2


def test_a_model_can_replace_itself_and_go_on(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "model.onnx"
    Model.load(tmp_path / "in.onnx").save(path)
    before = embedded(path)
    model = Model.load(path)
    clone = model.clone()
    tensor = model.graph.tensors()["first"]
    tensor.values = tensor.values + 1
    model.save(path)
    assert len(list(tmp_path.glob("model.onnx*"))) == 2
    assert embedded(path)["first"] == [value + 1 for value in before["first"]]
    assert embedded(path)["second"] == before["second"]
    clone.save(path)  # reads the file that was just replaced
    assert embedded(path) == before
    model.save(path)
    assert embedded(path)["first"] == [value + 1 for value in before["first"]]


def test_a_data_file_of_the_usual_name_goes_with_the_model_that_read_it(tmp_path: Path) -> None:
    proto, data = external_model()
    for tensor in proto.graph.initializer[1:]:
        tensor.external_data[0].value = "model.onnx.data"
    (tmp_path / "model.onnx.data").write_bytes(data)
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    (tmp_path / "other.onnx.data").write_bytes(b"of somebody else")
    model = Model.load(tmp_path / "model.onnx")
    model.save(tmp_path / "model.onnx")
    names = set(_files(tmp_path))
    assert len(names) == 3
    assert {"model.onnx", "other.onnx.data"} < names
    assert "model.onnx.data" not in names
    assert np.array_equal(model.constant(model.graph.tensors()["first"]), np.arange(2048).reshape(32, 64))


def test_data_files_that_something_else_may_read_stay(tmp_path: Path) -> None:
    proto, data = external_model()
    for tensor in proto.graph.initializer[1:]:
        tensor.external_data[0].value = "out.onnx.data"  # the input's data, under the name of the output's
    (tmp_path / "out.onnx.data").write_bytes(data)
    (tmp_path / "in.onnx").write_bytes(proto.SerializeToString())
    (tmp_path / "out.onnx").write_bytes(proto.SerializeToString())
    Model.load(tmp_path / "in.onnx").save(tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx.data").read_bytes() == data
    assert embedded(tmp_path / "in.onnx") == embedded(tmp_path / "out.onnx")


def test_what_is_no_model_is_replaced_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "out.onnx").write_text("not a model")
    (tmp_path / "out.onnx.data").write_text("not its data")
    Model.load(write(tmp_path)).save(tmp_path / "out.onnx")
    assert embedded(tmp_path / "out.onnx") == embedded(tmp_path / "in.onnx")
    assert (tmp_path / "out.onnx.data").exists()


class _Full:
    """A disk that is full after so many bytes: stands for `os.fsync`, before which nothing counts."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    def __call__(self, *_: object) -> None:
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize(
    ("what", "calls"),
    [("os.fsync", 0), ("os.fsync", 1), ("replace", 0), ("replace", 1)],
    ids=["full at the data", "full at the model", "no name for the data", "no name for the model"],
)
def test_a_failed_save_leaves_everything_as_it_was(
    what: str, calls: int, existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path)
    folder = tmp_path / "out"
    folder.mkdir()
    if existing:
        Model.load(source).save(folder / "out.onnx")
    before = _files(folder)
    model = _changed(source)
    failing = _Full(calls)
    if what == "os.fsync":
        monkeypatch.setattr(saving.os, "fsync", failing)
    else:
        replace = Path.replace
        monkeypatch.setattr(Path, "replace", lambda path, target: (failing(), replace(path, target))[1])
    with pytest.raises(ModelError, match=r"cannot write .*out.onnx: No space left on device; free some space"):
        model.save(folder / "out.onnx")
    assert _files(folder) == before
    monkeypatch.undo()
    if existing:
        assert embedded(folder / "out.onnx") == embedded(source)
    model.save(folder / "out.onnx")
    assert len(_files(folder)) == 2


def test_an_interrupted_save_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _changed(write(tmp_path))
    before = _files(tmp_path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(saving.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.save(tmp_path / "out.onnx")
    assert _files(tmp_path) == before


def test_a_real_full_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(ModelError, match="not a regular file"):
        Model.load(write(tmp_path)).save("/dev/full")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "not a regular file"),
        ("missing/out.onnx", "there is no folder"),
        ("in.onnx/out.onnx", "there is no folder"),
        ("x" * 300, "cannot write"),
        ("a\0b", "cannot write"),
        ("loop", "cannot write"),
    ],
)
def test_a_place_where_no_file_can_be_is_one_line(name: str, message: str, tmp_path: Path) -> None:
    model = Model.load(write(tmp_path))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(ModelError, match=message) as caught:
        model.save(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    source = write(tmp_path)
    folder = tmp_path / "closed"
    folder.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(ModelError, match="Permission denied"):
        Model.load(source).save(folder / "out.onnx")


def test_a_link_is_written_through(tmp_path: Path) -> None:
    source = write(tmp_path)
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.onnx"
    link.symlink_to(tmp_path / "real" / "out.onnx")
    Model.load(source).save(link)
    assert link.is_symlink()
    assert embedded(tmp_path / "real" / "out.onnx") == embedded(source)


def test_the_mode_of_the_file_is_the_usual_one_or_stays(tmp_path: Path) -> None:
    model = Model.load(write(tmp_path))
    out = tmp_path / "out.onnx"
    model.save(out)
    (tmp_path / "plain").write_bytes(b"")
    assert stat.S_IMODE(out.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    out.chmod(0o640)
    model.save(out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
