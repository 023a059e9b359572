"""What `unify` can be asked for."""

from typing import Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from onnxcomp.formats.unified import signed_levels
from onnxcomp.numerics.admm import ITERATIONS
from onnxcomp.numerics.blocks import Block
from onnxcomp.numerics.levels import check_levels
from onnxcomp.numerics.unification import MicroStructure
from onnxcomp_passes.stand_in import StandInOptions
from onnxcomp_passes.unified_layer import levels_in_words

Solver = Literal["admm", "refit", "plain"]


class UnifyOptions(StandInOptions):
    """Options of unify."""

    unified: float = Field(0.0, ge=0, le=1, description="share of each layer's blocks to give one magnitude")
    pruned: float = Field(0.0, ge=0, le=1, description="share of each layer's blocks to leave out")
    block: str = Field("4x4", description="output x input channels of a block")
    levels: str = Field("1", description="what a block's magnitude is multiplied by, one for each weight: 1:0.5:0")
    scales: Literal["fp16", "fp32"] = Field("fp16", description="type that the magnitudes are rounded to and stored in")
    solver: Solver = Field("admm", description="how the weight is fitted to data; plain: only its bias")
    rounds: int = Field(1, ge=1, le=ITERATIONS, description="steps in which admm raises the shares to what is asked")
    form: Literal["operator", "merged"] = Field("operator", description="what computes it; merged: the dense Conv")
    when: Literal["faster", "always"] = Field("faster", description="rewrite where measured faster, or everywhere")

    @field_validator("block")
    @classmethod
    def _one_tap(cls, text: str) -> str:
        if Block.parse(text).taps > 1:
            raise ValueError(f"'{text}' spans taps, which is stored in no form; write outputs x inputs, 4x4")
        return text

    @field_validator("levels")
    @classmethod
    def _in_order(cls, text: str) -> str:
        try:
            levels = check_levels(tuple(float(level) for level in text.split(":")))
        except ValueError as error:
            raise ValueError(f"'{text}': {error}; write 1:0.5:0") from error
        signed_levels(levels)
        return levels_in_words(levels)

    @model_validator(mode="after")
    def _one_whole(self) -> "UnifyOptions":
        _ = self.structure
        return self

    @property
    def structure(self) -> MicroStructure | None:
        """What weights are to become; None where they stay what they are."""
        if not self.unified and not self.pruned:
            return None
        levels = tuple(float(level) for level in self.levels.split(":"))
        return MicroStructure(Block.parse(self.block), levels, self.unified, self.pruned)

    @property
    def scale_type(self) -> type[np.floating]:
        """Of the magnitudes."""
        return np.float16 if self.scales == "fp16" else np.float32
