"""Which channels of which tensors are constant, found by walking the network once, front to back."""

from collections.abc import Iterable, Mapping

import numpy as np

from onnxcomp_passes.channels.flow import Flow, Values, unknown


def constant_values(flows: Iterable[Flow], channels: Mapping[str, int]) -> dict[str, Values]:
    """For every tensor of `channels` the constants of its channels. `flows` are in topological order.

    A value beyond the range of float32 is not taken for a constant.
    """
    known = {name: unknown(count) for name, count in channels.items()}
    for flow in flows:
        values = flow.values(known)
        known[flow.output.name] = np.where(np.abs(values) <= np.finfo(np.float32).max, values, np.nan)
    return known
