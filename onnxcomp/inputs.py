"""What a model must be fed, read from its graph without loading it into ONNX Runtime."""

import numpy as np

from onnxcomp.calibration import InputSpec
from onnxcomp.errors import ModelError
from onnxcomp.model import Model


def input_specs(model: Model) -> list[InputSpec]:
    """The graph inputs a caller must give, in order. ModelError for one that is no tensor of numbers."""
    specs = []
    for tensor in model.required_inputs():
        if tensor.dtype is None or tensor.shape is None:
            raise ModelError(
                f"{model.source or 'the model'}: input '{tensor.name}' is not a tensor of known type and rank"
            )
        dims = tuple(
            d if isinstance(d, int) and d >= 0 else (None if not isinstance(d, str) else d) for d in tensor.shape
        )
        specs.append(InputSpec(tensor.name, np.dtype(tensor.dtype), dims))
    return specs
