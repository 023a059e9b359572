"""The order of a graph's nodes, and what of it lives."""

from collections import Counter
from collections.abc import Callable, Iterable

import onnx_graphsurgeon as gs

from onnxcomp.errors import ModelError
from onnxcomp.model.importer import label


def ordered(graph: gs.Graph) -> list[gs.Node]:
    """The nodes, each after those it reads from; nodes in the wrong place move to just before their first reader.

    Raises ModelError for a cycle.
    """
    members = {id(node) for node in graph.nodes}
    return in_order(graph.nodes, lambda node: _makers(node, members))


def in_order(nodes: Iterable[gs.Node], makers: Callable[[gs.Node], list[gs.Node]]) -> list[gs.Node]:
    """`nodes` and all that `makers` leads to from them, each after its makers. Raises ModelError for a cycle."""
    opened: set[int] = set()
    done: set[int] = set()
    result: list[gs.Node] = []
    for root in nodes:
        stack = [root]
        while stack:
            node = stack[-1]
            if id(node) in done:
                stack.pop()
            elif id(node) in opened:
                done.add(id(stack.pop()))
                result.append(node)
            else:
                opened.add(id(node))
                waiting = [maker for maker in makers(node) if id(maker) not in done]
                for maker in waiting:
                    if id(maker) in opened:
                        raise ModelError(f"node {label(node)} and node {label(maker)} wait for each other: a cycle")
                stack.extend(reversed(waiting))
    return result


def _makers(node: gs.Node, members: set[int]) -> list[gs.Node]:
    """The nodes that `node` reads from. A node taken out of the graph may still hang on a tensor: it does not count."""
    return [maker for tensor in node.inputs for maker in tensor.inputs if id(maker) in members]


def named_tensors(graph: gs.Graph) -> dict[str, gs.Tensor]:
    """The tensors of the graph by name, in the order of first appearance. Omitted inputs and outputs are left out.

    Raises ModelError where two tensors share a name or a tensor has no source or two.
    """
    result: dict[str, gs.Tensor] = {}
    tensors = [*graph.inputs, *(t for node in graph.nodes for t in (*node.inputs, *node.outputs)), *graph.outputs]
    for tensor in tensors:
        if not tensor.is_empty() and result.setdefault(tensor.name, tensor) is not tensor:
            raise ModelError(f"two different tensors are called {tensor.name!r}")
    sources = Counter(tensor.name for node in graph.nodes for tensor in node.outputs)
    sources.update(tensor.name for tensor in graph.inputs)
    sources.update(name for name, tensor in result.items() if isinstance(tensor, gs.Constant))
    for name in result:
        if sources[name] != 1:
            raise ModelError(f"tensor {name!r} has {sources[name] or 'no'} sources; each must have one")
    return result


def living(graph: gs.Graph) -> list[gs.Node]:
    """The nodes that an output of the graph depends on, in their order."""
    members = {id(node) for node in graph.nodes}
    alive: set[int] = set()
    waiting = [maker for tensor in graph.outputs for maker in tensor.inputs if id(maker) in members]
    while waiting:
        node = waiting.pop()
        if id(node) not in alive:
            alive.add(id(node))
            waiting.extend(_makers(node, members))
    return [node for node in graph.nodes if id(node) in alive]
