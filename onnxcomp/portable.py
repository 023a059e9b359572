"""Files in standard operators alone: our functions written out where they are called."""

from onnx import inliner

from onnxcomp.formats.functions import DOMAIN
from onnxcomp.model import Model


def inline_functions(model: Model) -> Model:
    """`model` with every call of a function of ours replaced by its body, and no trace of our domain left.

    ModelError above 2 GB: the inliner works in memory.
    """
    ours = [key for key in model.functions if key[0] == DOMAIN]
    if not ours:
        return model
    proto = inliner.inline_selected_functions(model.to_proto(), ours)
    kept = [opset for opset in proto.opset_import if opset.domain != DOMAIN]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    return Model.from_proto(proto, model.source.parent if model.source else None)
