"""A network whose names would be markup anywhere: HTML, Markdown, the terminal's and rich's own."""

from pathlib import Path

import onnx

from tests.end_to_end.small import save_network

NAME = "<script>alert(1)</script>|x [red]y[/red] [/] :smile: *_`&lt;"
ESCAPE = "\x1b[31mred\x07"


def save_hostile(path: Path) -> Path:
    """The small network, `first` called `NAME` and `second` `ESCAPE`."""
    model = onnx.load(save_network(path))
    first, second = (node for node in model.graph.node if node.op_type == "Conv")
    first.name, second.name = NAME, ESCAPE
    onnx.save(model, path)
    return path
