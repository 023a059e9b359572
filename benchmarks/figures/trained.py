"""The trained networks of ../shared: images to fit them on, and labelled ones to score them on."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.errors import UsageError
from onnxcomp.runtime.session import session

SHARED = Path(__file__).parents[2].parent / "shared"
SAMPLES = 1024  # to fit on


@dataclass(frozen=True, eq=False)
class Images:
    """What to fit on, and labelled sets to score on, the last of which decides."""

    calibration: NDArray[np.float32]
    sets: dict[str, tuple[NDArray[np.float32], NDArray[Any]]]

    @classmethod
    def of(cls, name: str) -> "Images":
        """Those of a network: CIFAR-10's training images, or the even half of the ImageNet sample.

        Raises UsageError where the networks are not there.
        """
        evalpack = _evalpack()
        pre = evalpack.MODELS[name.removesuffix("_folded")][1]
        if "cifar" in name:
            clean, jpeg = _npz("cifar10_test_clean"), _npz("cifar10_test_jpeg")
            return cls(
                pre(_npz("cifar10_train10k")["x"][:SAMPLES]),
                {
                    "clean": (pre(clean["x"]), clean["y"]),
                    "jpeg": (pre(np.stack(evalpack.jpegs(jpeg))), jpeg["y"]),
                },
            )
        sample = _npz("imagenet_sample")
        images = pre(np.stack(evalpack.jpegs(sample)))
        return cls(images[::2], {"odd half": (images[1::2], sample["y"][1::2])})

    def score(self, path: Path) -> dict[str, NDArray[Any]]:
        """The network's outputs on every set."""
        loaded = session(path)
        name = loaded.get_inputs()[0].name
        return {
            key: np.concatenate([loaded.run(None, {name: x[i : i + 50]})[0] for i in range(0, len(x), 50)]).reshape(
                len(x), -1
            )
            for key, (x, _) in self.sets.items()
        }

    def top1(self, outputs: dict[str, NDArray[Any]], key: str) -> float:
        """Per cent."""
        return float(100 * np.mean(outputs[key].argmax(1) == self.sets[key][1]))

    def compared(self, before: dict[str, NDArray[Any]], after: dict[str, NDArray[Any]]) -> dict[str, float | None]:
        """Agreement on the set that decides, in per cent, and points of top-1 lost on that and on the clean one."""
        main = list(before)[-1]
        lost = {key: self.top1(before, key) - self.top1(after, key) for key in before}
        agreement = 100 * float(np.mean(before[main].argmax(1) == after[main].argmax(1)))
        return {"agreement": agreement, "lost": lost[main], "lost_clean": lost.get("clean")}

    def words(self, outputs: dict[str, NDArray[Any]]) -> str:
        """How well a network with these outputs does."""
        sets = (f"top-1 {self.top1(outputs, key):.2f} % on {len(outputs[key])} {key} images" for key in outputs)
        return ", ".join(sets)


def _evalpack() -> ModuleType:
    path = SHARED / "evalpack.py"
    if not path.is_file():
        raise UsageError(f"this needs the trained networks of {SHARED.name}/, which is not there")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _npz(name: str) -> Any:
    return np.load(SHARED / "data" / f"{name}.npz")
