"""The codebook format: decode(encode(W)) is W bit for bit, in NumPy and in ONNX Runtime, frozen bytes, and refusals."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from onnxcomp.errors import ModelError
from onnxcomp.formats import codebook
from onnxcomp.formats.codebook import Coded
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.runtime.session import run, session

WORDS = {"e": "u2", "f": "u4", "d": "u8"}


@st.composite
def tensors(draw: st.DrawFn) -> NDArray[np.floating]:
    """Tensors of at most 1 to 256 values of any bits: signed zeros, infinities and every NaN among them."""
    dtype = np.dtype(draw(st.sampled_from("efd")))
    word = np.dtype(WORDS[dtype.char])
    special = np.array([0.0, -0.0, np.inf, np.nan, 1.5], dtype).view(word).tolist()
    element = st.one_of(st.sampled_from(special), st.integers(0, 2 ** (8 * word.itemsize) - 1))
    values = draw(st.lists(element, min_size=1, max_size=draw(st.sampled_from([2, 4, 16, 256]))))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9))
    picks = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, len(values) - 1)))
    return np.array(values, word)[picks].view(dtype)


def bits(tensor: NDArray[np.floating]) -> tuple[np.dtype, tuple[int, ...], bytes]:
    """All there is of a tensor."""
    return tensor.dtype, tensor.shape, tensor.tobytes()


def encoded(tensor: NDArray[np.floating]) -> Coded:
    stored = codebook.encode(tensor)
    assert stored is not None
    return stored


def model_of(stored: Coded, shape: tuple[int, ...]) -> bytes:
    """A model that decodes `stored`."""
    constants = {"ids": stored.ids, "codebook": stored.codebook}
    element = helper.np_dtype_to_tensor_dtype(stored.codebook.dtype)
    graph = helper.make_graph(
        [codebook.node(stored.op, list(constants), "W", shape)],
        "decode",
        [],
        [helper.make_tensor_value_info("W", element, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
    functions = [codebook.function(stored.op, 13)]
    model = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


@given(tensors())
def test_numpy_decodes_what_was_encoded(tensor: NDArray[np.floating]) -> None:
    stored = encoded(tensor)
    assert bits(codebook.decode(stored, tensor.shape)) == bits(tensor)
    width = codebook.BITS[stored.op]
    assert stored.size_bytes == (tensor.size * width + 7) // 8 + stored.codebook.nbytes
    assert width == 1 or stored.codebook.size > 2 ** (width // 2)


@settings(max_examples=30)
@given(tensors())
def test_onnxruntime_decodes_what_was_encoded(tensor: NDArray[np.floating]) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    (decoded,) = ort.InferenceSession(model_of(encoded(tensor), tensor.shape), options).run(None, {})
    assert bits(decoded) == bits(tensor)


@pytest.mark.parametrize(
    ("tensor", "op", "ids", "values"),
    [
        ([2, 2, -1.5], "Codebook1", "04", "00000040 0000c0bf"),
        ([0, -0.0, 2], "Codebook2", "18", "00000000 00000040 00000080"),
        ([5, 1, 2, 3, 4], "Codebook4", "0421 03", "0000803f 00000040 00004040 00008040 0000a040"),
        (
            range(17),
            "Codebook8",
            bytes(range(17)).hex(),
            np.arange(17, dtype="<f4").tobytes().hex(),
        ),
    ],
)
def test_the_bytes_of_version_1_are_frozen(tensor: list[float], op: str, ids: str, values: str) -> None:
    stored = encoded(np.array(tensor, np.float32))
    assert (stored.op, stored.ids.dtype, stored.codebook.dtype) == (op, np.uint8, np.float32)
    assert (stored.ids.tobytes(), stored.codebook.tobytes()) == (bytes.fromhex(ids), bytes.fromhex(values))


@pytest.mark.parametrize(("count", "op"), [(256, "Codebook8"), (257, None)])
@pytest.mark.parametrize("repeats", [1, 100])
def test_more_than_256_values_are_too_many(count: int, op: str | None, repeats: int) -> None:
    """Wherever they stand: the first elements alone may have fewer."""
    stored = codebook.encode(np.repeat(np.arange(count, dtype=np.float32), repeats))
    assert (stored and stored.op) == op


DAMAGED = [
    (np.array([0, 3, 1], np.uint8), np.ones(3, np.float32), "id 3 is out of the codebook's 3 values"),
    (np.array([0, 0, 0], np.uint8), np.ones(0, np.float32), "id 0 is out of the codebook's 0 values"),
    (np.array([0, 1], np.uint8), np.ones(3, np.float32), "ids have 2 bytes, 3 of 8 bits need 3"),
    (np.array([0, 1, 2, 0], np.uint8), np.ones(3, np.float32), "ids have 4 bytes"),
    (np.array([0, 1, 2], np.int64), np.ones(3, np.float32), "int64 of rank 1"),
    (np.array([[0, 1, 2]], np.uint8), np.ones(3, np.float32), "uint8 of rank 2"),
    (np.array([0, 1, 2], np.uint8), np.ones((3, 1), np.float32), "the codebook has rank 2"),
]


@pytest.mark.parametrize(("ids", "values", "message"), DAMAGED)
def test_disagreeing_parts_are_refused(ids: np.ndarray, values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        codebook.decode(Coded(ids, values, "Codebook8"), (3,))


def test_spare_bits_must_be_zero() -> None:
    with pytest.raises(ValueError, match="bits set past the last one"):
        codebook.decode(Coded(np.array([0b11000], np.uint8), np.ones(4, np.float32), "Codebook2"), (2,))


@pytest.mark.parametrize(("ids", "values"), [damaged[:2] for damaged in DAMAGED[:2]])
def test_onnxruntime_refuses_ids_out_of_range(ids: np.ndarray, values: np.ndarray) -> None:
    with pytest.raises(ModelError, match="out of data bounds"):
        run(session(model_of(Coded(ids, values, "Codebook8"), (3,)), 1, library=False), {})
