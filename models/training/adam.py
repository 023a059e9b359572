"""Adam (Kingma and Ba 2014, arXiv 1412.6980) with decoupled weight decay (arXiv 1711.05101)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.layers import Parameter

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Steps `parameters` along their gradients; matrices decay, scales and shifts do not."""

    def __init__(self, parameters: Sequence[Parameter], decay: float = 1e-2) -> None:
        self._parameters = parameters
        self._decay = decay
        self._m = [np.zeros_like(p.value) for p in parameters]
        self._v = [np.zeros_like(p.value) for p in parameters]
        self._t = 0

    def step(self, rate: float) -> None:
        """One update at learning rate `rate`."""
        self._t += 1
        for i, p in enumerate(self._parameters):
            self._m[i] += (1 - _BETA1) * (p.grad - self._m[i])
            self._v[i] += (1 - _BETA2) * (p.grad**2 - self._v[i])
            m_hat = self._m[i] / (1 - _BETA1**self._t)
            v_hat = self._v[i] / (1 - _BETA2**self._t)
            if p.value.ndim > 1:
                p.value *= np.float32(1 - rate * self._decay)
            p.value -= rate * m_hat / (np.sqrt(v_hat) + _EPSILON)
