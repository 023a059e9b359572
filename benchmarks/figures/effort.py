"""How long is measured, and on what."""

from dataclasses import dataclass

from zoo.weights import own_sparsity


@dataclass(frozen=True)
class Effort:
    """`seconds` of turns for each comparison, at least `min_rounds`; `quick` runs also shrink images."""

    seconds: float
    min_rounds: int
    quick: bool


FULL = Effort(seconds=4.0, min_rounds=15, quick=False)
QUICK = Effort(seconds=0.0, min_rounds=3, quick=True)


@dataclass(frozen=True)
class Request:
    """What to measure: `sparsities` (0 to 1) of zeros in `structure`, by `batches` and numbers of `threads`."""

    threads: tuple[int, ...] = (1, 2)
    sparsities: tuple[float, ...] = (0.9, 0.95)
    batches: tuple[int, ...] = (1, 16)
    structure: str = "unstructured"
    effort: Effort = FULL

    @property
    def zeros(self) -> tuple[float, ...]:
        """The shares of zeros to measure: `sparsities`, or the one that n:16 has by itself."""
        own = own_sparsity(self.structure)
        return self.sparsities if own is None else (own,)
