"""Micro-blocks: which weights and columns a block holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.numerics.blocks import Block

SIZES = st.integers(1, 4)


@given(st.tuples(SIZES, SIZES, SIZES), st.tuples(SIZES, SIZES, SIZES))
def test_join_undoes_cut(block: tuple[int, int, int], counts: tuple[int, int, int]) -> None:
    C_out, C_in, K = (b * n for b, n in zip(block, counts, strict=True))
    weight = np.arange(C_out * C_in * K).reshape(C_out, C_in, K)
    cut = Block(*block).cut(weight)
    assert cut.shape == (counts[0], counts[1] * counts[2], block[0], block[1] * block[2])
    np.testing.assert_array_equal(Block(*block).join(cut, weight.shape), weight)


@pytest.mark.parametrize("text", ["4x4", "8x1", "1x8", "2x2x3"])
def test_columns_are_what_a_block_reads(text: str) -> None:
    block, shape = Block.parse(text), (8, 8, 3, 3)
    weight = np.arange(8 * 72).reshape(shape)
    cut, columns = block.cut(weight), block.columns(shape)
    assert str(block) == text and cut[0, 0].size == block.size
    for row in range(len(cut)):
        first = weight.reshape(8, -1)[row * block.outputs : (row + 1) * block.outputs]
        np.testing.assert_array_equal(cut[row], first[:, columns].swapaxes(0, 1))


def test_blocks_are_neighbours_at_one_tap() -> None:
    weight = np.arange(4 * 4 * 9).reshape(4, 4, 3, 3)
    np.testing.assert_array_equal(Block(2, 2).cut(weight)[1, 9 + 5], weight[2:4, 2:4, 1, 2])
    np.testing.assert_array_equal(Block(2, 2, 3).cut(weight)[0, 1], weight[:2, :2, 1].reshape(2, 6))


@pytest.mark.parametrize("text", ["4", "0x4", "4x", "4 x 4", "-1x4", "4x4x4x4", "999999x1", "²x2"])
def test_refuses_what_is_no_block(text: str) -> None:
    with pytest.raises(ValueError, match="is no block"):
        Block.parse(text)


def test_refuses_what_does_not_divide() -> None:
    assert Block(4, 4).refusal((8, 6, 3, 3)) == "8 outputs and 6 inputs at 9 taps do not divide into blocks of 4x4"
    assert "in each group" in str(Block(4, 4).refusal((12, 4, 1, 1), group=2))
    assert Block(4, 4).refusal((16, 4, 1, 1), group=2) is None
    with pytest.raises(ValueError, match="do not divide"):
        Block(1, 1, 2).cut(np.zeros((4, 4, 3, 3)))
