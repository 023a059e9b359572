"""What is asked again of the same numbers is not worked out again."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from onnxcomp.numerics import by_content as module
from onnxcomp.numerics.by_content import by_content


def test_asked_once_for_equal_arrays() -> None:
    asked: list[NDArray[np.float32]] = []

    @by_content
    def total(array: NDArray[np.float32]) -> float:
        asked.append(array)
        return float(array.sum())

    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    same = [array, array.copy(), np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2]]
    assert [total(one) for one in same] == [66.0] * 4 and len(asked) == 1
    others = [array.reshape(4, 3), array.astype(np.float64), array + 1, array.view(np.int32)]
    answers = [total(one) for one in others]
    assert answers[:3] == [66.0, 66.0, 78.0] and len(asked) == 5
    array[0, 0] = 1
    assert total(array) == 67.0


@pytest.mark.parametrize(
    "array", [np.zeros((2, 3), ml_dtypes.bfloat16), np.zeros((3, 0, 2), np.float32), np.float32(0).reshape(())]
)
def test_any_array_has_content(array: NDArray[Any]) -> None:
    asked: list[tuple[int, ...]] = []

    @by_content
    def size(array: NDArray[Any]) -> int:
        asked.append(array.shape)
        return array.size

    assert size(array) == size(array.copy()) == array.size
    assert size(array.astype(np.float16)) == array.size and len(asked) == 2


def test_the_oldest_answers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    asked: list[float] = []

    @by_content
    def first(array: NDArray[np.float32]) -> float:
        asked.append(float(array[0]))
        return asked[-1]

    for value in (1.0, 2.0, 1.0, 3.0, 2.0, 1.0):
        assert first(np.array([value], np.float32)) == value
    assert asked == [1.0, 2.0, 3.0, 1.0]
