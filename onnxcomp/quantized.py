"""The int8 form of a model that `bench --int8` sets beside it: ONNX Runtime's own static quantisation.

    weights      int8, symmetric, one scale an output channel; 7 bits of them where the CPU needs that
    activations  uint8 with a zero point, from the smallest and largest value on the calibration samples

as QuantizeLinear and DequantizeLinear pairs, from which ONNX Runtime makes its integer kernels: of the forms its
quantiser writes, the one that is fast on x86 and keeps most accuracy. Nothing here is a compression that `optimize`
offers; it is what sparsity has to beat.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from onnxcomp.cost.host import host
from onnxcomp.cost.layer_times import name_layers
from onnxcomp.cost.size import file_bytes
from onnxcomp.errors import ModelError
from onnxcomp.model import Model
from onnxcomp.runtime.session import Feed, reason

CALIBRATION_SAMPLES = 16
_OPSET = 13  # the first with a scale per channel
_WIDE_SUMS = frozenset({"avx512_vnni", "avx_vnni", "asimd"})  # sums of products of bytes are of 32 bits
_LARGE_BYTES = 1 << 30  # from here on weights lie outside the file, which a protobuf limits to 2 GB


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Hands `feeds` to the quantiser one by one."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> dict[str, object] | None:
        """The next feed, None after the last."""
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


def quantize(path: str | Path, feeds: Iterable[Feed], folder: Path) -> Path:
    """Write the int8 form of the model at `path`, calibrated on `feeds`, into `folder`; returns where it is.

    Weights in a compressed form are decoded first. Raises ModelError, one line, where the model cannot be read or ONNX
    Runtime cannot quantise it, or finds nothing in it to quantise.
    """
    source, prepared, target = (folder / f"{stage}.onnx" for stage in ("source", "prepared", "int8"))
    _write_source(Path(path), source)
    large = file_bytes(source) > _LARGE_BYTES
    try:
        # Symbolic shapes would need sympy, and help transformers only.
        quant_pre_process(source, prepared, skip_symbolic_shape=True, save_as_external_data=large)
        quantize_static(
            prepared,
            target,
            _Feeds(feeds),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            # Other CPUs sum two products in 16 bits, which 8 bits of both factors exceed: answers would be far off.
            reduce_range=_WIDE_SUMS.isdisjoint(host().features),
            use_external_data_format=large,
        )
    except Exception as error:  # the quantiser raises whatever its parts do
        told = reason(error) or type(error).__name__
        raise ModelError(f"{path}: ONNX Runtime cannot quantise it to int8: {told}; leave --int8 out") from error
    if not _is_quantized(target):
        raise ModelError(f"{path}: ONNX Runtime finds nothing in it to quantise to int8; leave --int8 out")
    return target


def _write_source(path: Path, target: Path) -> None:
    """The model in an opset that can say it, its layers named: the quantiser calls its nodes after them."""
    model = Model.load(path)
    model.raise_opset(_OPSET)
    model.sweep()  # ONNX Runtime would warn of every tensor that nobody reads
    name_layers(model)
    model.save(target)


def _is_quantized(path: Path) -> bool:
    graph = onnx.load(path, load_external_data=False).graph
    return any(node.op_type == "QuantizeLinear" for node in graph.node)
