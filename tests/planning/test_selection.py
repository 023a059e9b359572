"""Which nodes passes may touch."""

import pytest

from onnxcomp.errors import UsageError
from onnxcomp.model import Model
from onnxcomp.pass_api import Site
from onnxcomp.selection import Selection
from tests.passes.graphs import model_of

TEXT = "g (float[2] x) => (float[2] z) {\n[block_relu] y = Relu (x)\nz = Exp (y)\n}"


@pytest.fixture
def model() -> Model:
    return model_of(TEXT)


@pytest.mark.parametrize(
    ("include", "exclude", "refusals"),
    [
        ((), (), [None, None]),
        (("relu",), (), [None, "not included"]),
        (("^z$",), (), ["not included", None]),  # a node without a name is called by its output
        (("relu", "z"), (), [None, None]),
        ((), ("^block_",), ["excluded by '^block_'", None]),
        (("relu",), ("relu",), ["excluded by 'relu'", "not included"]),
    ],
)
def test_refusals(include: tuple[str, ...], exclude: tuple[str, ...], refusals: list[str | None], model: Model) -> None:
    selection = Selection(include, exclude)
    selection.validate(model)
    found = [selection.refusal(Site((node,))) for node in model.graph.nodes]
    assert [refused and refused.reason for refused in found] == refusals


def test_a_site_is_excluded_by_any_of_its_nodes(model: Model) -> None:
    site = Site(tuple(model.graph.nodes))
    refused = Selection(exclude=("z",)).refusal(site)
    assert refused is not None and refused.node == "block_relu"
    assert Selection(include=("z",)).refusal(site) is None


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (Selection(include=("nothing",)), "--include 'nothing' matches no node"),
        (Selection(include=("relu",), exclude=("nothing",)), "--exclude 'nothing' matches no node"),
        (Selection(exclude=("(",)), "--exclude '(' is not a regular expression"),
    ],
)
def test_patterns_that_do_not_fit_are_refused(selection: Selection, words: str, model: Model) -> None:
    with pytest.raises(UsageError) as refused:
        selection.validate(model)
    assert words in str(refused.value)
