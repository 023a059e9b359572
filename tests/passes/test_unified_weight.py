"""unified-weight: which weights are stored in blocks of one magnitude, and that the layers get the same bits."""

import numpy as np
import pytest

from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite, sparse
from tests.runtime.unified_models import random_weight


def linear(weight: np.ndarray, kind: str = "float") -> str:
    columns, rows = weight.shape[1], weight.shape[0]
    return f"net ({kind}[N, {columns}] x) => ({kind}[N, {rows}] y) {{\n[fc] y = Gemm <transB = 1> (x, w)\n}}"


@pytest.mark.parametrize(("levels", "share"), [((1.0,), 0.0625), ((1.0, 0.5, 0.0), 0.11)])
def test_stores_signs_and_scales(levels: tuple[float, ...], share: float) -> None:
    weight = random_weight((64, 128), (4, 4), levels)
    model = model_of(linear(weight), {"w": weight})
    done, result = rewrite(model, "unified-weight")
    assert ops(done.model) == ["UnifiedWeight", "Gemm"]
    (applied,) = result.applied
    assert applied.rewrite_error == 0
    before, after = applied.candidate.size_bytes
    assert after <= share * before
    assert_equal(model, done.model, 0, x=np.random.default_rng(0).standard_normal((3, 128)).astype(np.float32))


def test_a_codebook_may_be_smaller() -> None:
    rng = np.random.default_rng(0)
    signs = rng.choice(np.array([-1, 1], np.float32), (64, 64))
    _, result = rewrite(model_of(linear(signs), {"w": signs}), "unified-weight")
    assert reasons(result)["fc"] == "a bitmap or a codebook is smaller than blocks of one magnitude"
    done, _ = rewrite(model_of(linear(signs), {"w": signs}), "unified-weight,codebook,sparse-weight")
    assert ops(done.model) == ["Codebook1", "Gemm"]


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (np.random.default_rng(0).standard_normal((32, 32), np.float32), "no blocks of one magnitude"),
        (random_weight((32, 32), (4, 4)).astype(np.float16), "no blocks of one magnitude"),
        (random_weight((32, 32), (4, 4), free=0.92, seed=2), "would save less than 10%"),
        (sparse((64, 64), 0.6), "no blocks of one magnitude"),
        (random_weight((8, 8), (4, 4)), "is small (256 bytes)"),
    ],
)
def test_declines_with_its_reason(weight: np.ndarray, reason: str) -> None:
    kind = {"float16": "float16", "float32": "float"}[str(weight.dtype)]
    done, result = rewrite(model_of(linear(weight, kind), {"w": weight}), "unified-weight")
    assert reason in reasons(result)["fc"]
    assert ops(done.model) == ["Gemm"]
