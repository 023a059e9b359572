"""Where on the dial what is used up of a bound, or reached of a target, is likely to pass one.

What is used up grows with what the choices are expected to lose: from half of the way on, in three searches of a
resnet20, 10, 9 and 4 times the loss used up 7, 7 and 2.5 times as much of a bound on agreement. Where nothing is known
of that, and of targets, a figure is taken to grow by the same factor from step to step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, log

import numpy as np

_GROWTH = 1.5**16  # from one end of the dial to the other; 1.4 to 1.7 a sixteenth on a resnet20

Place = tuple[float, float]
"""A share of the dial's way, and the figure there."""


@dataclass(frozen=True)
class Scale:
    """Logarithms, at shares of the way, of what a figure is expected to be, up to a factor. Both rise."""

    shares: tuple[float, ...] = (0.0, 1.0)
    logs: tuple[float, ...] = (0.0, log(_GROWTH))

    @classmethod
    def of(cls, losses: Sequence[float]) -> "Scale":
        """By the losses that are expected at even steps, the first of them where nothing is done."""
        points: list[tuple[float, float]] = []
        rising = -inf
        for step, loss in enumerate(losses):
            if 0 < loss < inf and log(loss) > rising:
                rising = log(loss)
                points.append((step / (len(losses) - 1), rising))
        if len(points) < 2 or points[-1][0] < 1:
            return cls()
        (s0, l0), (s1, l1) = points[:2]
        start = [(0.0, l0 - s0 * (l1 - l0) / (s1 - s0))] if s0 else []
        shares, logs = zip(*start, *points, strict=True)
        return cls(shares, logs)

    @property
    def is_known(self) -> bool:
        """Whether it is made of losses."""
        return self != Scale()

    def expects(self, figure: float) -> float:
        """The share at which that figure is expected."""
        return self._share(log(figure))

    def slope(self, one: Place, other: Place) -> float | None:
        """By how much a figure grows as it is expected to, by two places; None where it did not grow.

        None also where losses are known: beyond both places two figures then tell less than these do.
        """
        return None if self.is_known else self._slope(one, other)

    def _slope(self, one: Place, other: Place) -> float | None:
        (s0, f0), (s1, f1) = sorted((one, other))
        if not 0 < f0 < f1 < inf:
            return None
        expected = self._log(s1) - self._log(s0)
        return log(f1 / f0) / expected if expected > 0 else None

    def passes(self, low: Place, high: Place, slope: float = 1.0) -> float:
        """Between places at which a figure is less and more than one: the share where it is likely to pass it.

        `slope` where the two do not tell.
        """
        slope = self._slope(low, high) or slope
        share, figure = low if low[1] > 0 else high
        return self._share(self._log(share) - log(figure) / slope) if isfinite(figure) else share

    def _log(self, share: float) -> float:
        return float(np.interp(share, self.shares, self.logs))

    def _share(self, at: float) -> float:
        return float(np.interp(at, self.logs, self.shares))
