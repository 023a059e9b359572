"""Folders of images: found, decoded, normalised, labelled; and refused with a reason."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxcomp.calibration import open_data
from onnxcomp.errors import DataError

NCHW = ("image", np.float32, ["N", 3, 4, 6])
NHWC = ("image", np.float32, ["N", 4, 6, 3])


def pixels(seed: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(3):
        Image.fromarray(pixels(seed)).save(tmp_path / f"{seed}.png")
    (tmp_path / "readme.txt").write_text("no image")
    return tmp_path


def first(data: object) -> np.ndarray:
    return next(data.batches(8))["image"]


def test_pixels_arrive_as_they_are(folder: Path) -> None:
    data = open_data(folder, [NCHW])
    assert data.count == 3 and data.labels is None and first(data).dtype == np.float32
    np.testing.assert_array_equal(first(data), np.stack([pixels(seed).transpose(2, 0, 1) for seed in range(3)]))
    np.testing.assert_array_equal(first(open_data(folder, [NHWC], layout="nhwc"))[1], pixels(1))
    assert first(open_data(str(folder), [("image", np.uint8, ["N", 3, 4, 6])])).dtype == np.uint8


def test_mean_and_std(folder: Path) -> None:
    mean, std = [123.0, 117.0, 104.0], [58.0, 57.0, 56.0]
    expected = ((pixels(0) - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)
    np.testing.assert_allclose(first(open_data(folder, [NCHW], mean=mean, std=std))[0], expected, rtol=1e-6)
    one = first(open_data(folder, [NCHW], mean=[128], std=[128]))[0]
    np.testing.assert_allclose(one, (pixels(0).transpose(2, 0, 1) - 128.0) / 128, rtol=1e-6)


def test_sizes_come_from_the_model_or_the_option(folder: Path) -> None:
    free = ("image", np.float32, ["N", 3, "H", "W"])
    assert first(open_data(folder, [free], image_size=8)).shape == (3, 3, 8, 8)
    assert first(open_data(folder, [free], image_size=(5, 7))).shape == (3, 3, 5, 7)
    assert first(open_data(folder, [("image", np.float32, ["N", 3, 9, 2])])).shape == (3, 3, 9, 2)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (4, "RGBA")])
def test_grey_and_alpha(folder: Path, channels: int, mode: str) -> None:
    expected = np.asarray(Image.fromarray(pixels(0)).convert(mode)).reshape(4, 6, channels).transpose(2, 0, 1)
    np.testing.assert_array_equal(first(open_data(folder, [("image", np.float32, ["N", channels, 4, 6])]))[0], expected)


def test_numbered_subfolders_are_labels(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("labelled")
    for label in (2, 10):
        (root / str(label)).mkdir()
        for name in "ab":
            Image.fromarray(pixels(label)).save(root / str(label) / f"{name}.jpg")
    data = open_data(root, [NCHW])
    assert data.labels is not None
    by_label = dict(zip(data.labels.tolist(), first(data), strict=True))
    assert sorted(data.labels.tolist()) == [2, 2, 10, 10]
    decoded = np.asarray(Image.open(root / "10" / "a.jpg")).transpose(2, 0, 1)
    np.testing.assert_array_equal(by_label[10], decoded)
    (root / "cats").mkdir()
    Image.fromarray(pixels(0)).save(root / "cats" / "c.png")
    unlabelled = open_data(root, [NCHW])
    assert unlabelled.count == 5 and unlabelled.labels is None


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (("image", np.float32, ["N", 3, "H", "W"]), {}, "say which with --image-size"),
        (NCHW, {"image_size": 5}, "leave the option out"),
        (("image", np.float32, ["N", 3, "H", "W"]), {"image_size": 0}, "at least 1 pixel"),
        (NCHW, {"mean": [1, 2]}, "--mean: 2 values for 3 channels"),
        (NCHW, {"std": [0.229, 0.224, 0.225]}, "multiply both by 255"),
        (NCHW, {"std": [0]}, "multiply both by 255"),
        (("image", np.float32, ["N", 8, 6, 3]), {}, "check --layout nchw"),
        (("image", np.float32, ["N", 12]), {}, "not batches of images"),
        (("image", np.uint8, ["N", 3, 4, 6]), {"mean": [1]}, "takes uint8, the data is float32"),
    ],
)
def test_options_that_do_not_fit(folder: Path, spec: tuple, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_data(folder, [spec], **options)


def test_two_inputs(folder: Path) -> None:
    with pytest.raises(DataError, match="feeds one input, the model has 2"):
        open_data(folder, [NCHW, ("other", np.float32, ["N"])])


def test_no_images(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("no image")
    with pytest.raises(DataError, match="no images in it"):
        open_data(tmp_path, [NCHW])


def test_a_broken_image_is_named(folder: Path) -> None:
    (folder / "9.png").write_bytes((folder / "0.png").read_bytes()[:60])
    data = open_data(folder, [NCHW])
    with pytest.raises(DataError, match=r"9\.png: not an image that Pillow can read"):
        list(data.batches(2))


def test_an_image_too_large_to_be_honest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(DataError, match=r"0\.png: not an image that Pillow can read"):
        open_data(folder, [NCHW])
