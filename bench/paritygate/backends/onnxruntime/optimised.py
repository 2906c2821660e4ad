"""The graph that ONNX Runtime's optimisers make of a model, as facts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paritygate.backends.onnxruntime import providers

if TYPE_CHECKING:
    import onnxruntime

FACTS = ("optimised_nodes", "fusions", "generated_code")


def facts(
    options: onnxruntime.SessionOptions, path: Path, exported: Mapping[str, int]
) -> dict[str, Any]:
    """Return ``FACTS`` of the model in ``path``: the nodes that remain, those of kinds that are not
    among the ``exported`` ones, and a digest of all that they do.
    """
    import onnx
    import onnxruntime

    options.optimized_model_filepath = str(path.with_name("optimised.onnx"))
    # hides the warning that the optimised file fits this machine only; it is read, then removed
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=[providers.CPU])
    graph = onnx.load(options.optimized_model_filepath).graph
    Path(options.optimized_model_filepath).unlink()
    nodes = Counter(node.op_type for node in graph.node)
    return {
        "optimised_nodes": dict(nodes),
        "fusions": {name: count for name, count in nodes.items() if name not in exported},
        "generated_code": _digest(graph),
    }


def _digest(graph: Any) -> str:
    """Return a digest of the nodes of a graph, without what only tells where they come from."""
    _forget_origin(graph)
    nodes = (node.SerializeToString(deterministic=True) for node in graph.node)
    return hashlib.sha256(b"".join(nodes)).hexdigest()[:12]


def _forget_origin(graph: Any) -> None:
    """Remove names and stack traces from the nodes of a graph, and of the graphs in them."""
    for node in graph.node:
        for field in ("name", "doc_string", "metadata_props"):
            node.ClearField(field)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _forget_origin(inner)
