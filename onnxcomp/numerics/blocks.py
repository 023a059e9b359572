"""Micro-blocks: a weight cut into small blocks of neighbouring numbers.

W (C_out, C_in / group, k...) as the matrix C_out x (C_in / group * K), K = kh * kw, is cut into blocks of `outputs`
rows by `inputs` neighbouring input channels at one place of the kernel; with `taps` > 1 a block also spans so many
places, which is the three-dimensional variant of micro-structured weight unification.
"""

import re
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Block:
    """The size of a block: output channels, input channels, places of the kernel."""

    outputs: int
    inputs: int
    taps: int = 1

    @classmethod
    def parse(cls, text: str) -> "Block":
        """From "4x4", outputs first, or "4x4x3" with taps. Raises ValueError."""
        if not re.fullmatch(r"[1-9]\d{0,4}(x[1-9]\d{0,4}){1,2}", text):
            raise ValueError(f"'{text}' is no block; write outputs x inputs, 4x4, or with taps, 4x4x3")
        return cls(*map(int, text.split("x")))

    def __str__(self) -> str:
        return f"{self.outputs}x{self.inputs}" + (f"x{self.taps}" if self.taps > 1 else "")

    @property
    def size(self) -> int:
        """Weights in a block."""
        return self.outputs * self.inputs * self.taps

    def refusal(self, shape: tuple[int, ...], group: int = 1) -> str | None:
        """Why a weight of `shape` (C_out, C_in / group, k...) does not divide into blocks, or None."""
        C_out, C_in, K = shape[0] // group, shape[1], prod(shape[2:])
        if C_out % self.outputs or C_in % self.inputs or K % self.taps:
            of = " in each group" if group > 1 else ""
            return f"{C_out} outputs and {C_in} inputs{of} at {K} taps do not divide into blocks of {self}"
        return None

    def cut(self, weight: NDArray[T]) -> NDArray[T]:
        """W (C_out, C_in / group, k...) as (C_out / outputs, blocks, outputs, inputs * taps).

        Blocks of a row are in the order (input channels, taps). Raises ValueError where W does not divide.
        """
        reason = self.refusal(weight.shape)
        if reason:
            raise ValueError(reason)
        rows, columns, places = self._counts(weight.shape)
        split = weight.reshape(rows, self.outputs, columns, self.inputs, places, self.taps)
        return split.transpose(0, 2, 4, 1, 3, 5).reshape(rows, columns * places, self.outputs, self.inputs * self.taps)

    def join(self, blocks: NDArray[T], shape: tuple[int, ...]) -> NDArray[T]:
        """The weight of `shape` whose `cut` is `blocks`."""
        rows, columns, places = self._counts(shape)
        split = blocks.reshape(rows, columns, places, self.outputs, self.inputs, self.taps)
        return split.transpose(0, 3, 1, 4, 2, 5).reshape(shape)

    def columns(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """(blocks, inputs * taps): which columns of the im2col matrix, 0 to Q - 1, each block of a row reads."""
        numbers = np.arange(prod(shape[1:])).reshape(1, *shape[1:])
        return Block(1, self.inputs, self.taps).cut(numbers)[0, :, 0]

    def _counts(self, shape: tuple[Any, ...]) -> tuple[int, int, int]:
        return shape[0] // self.outputs, shape[1] // self.inputs, prod(shape[2:]) // self.taps
