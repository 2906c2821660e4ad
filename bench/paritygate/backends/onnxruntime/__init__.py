"""onnxruntime: the model exported to ONNX once for each case, with dynamic shapes, and run by ONNX
Runtime.

The export is made in the reference worker and cached by content. A cell's worker opens the file and
holds no torch model. On a GPU ``onnxruntime`` takes and returns tensors on the GPU, as eager does.
``onnxruntime_host`` takes and returns numpy arrays. ``onnxruntime_graph`` replays a CUDA graph.
``tensorrt`` runs in TensorRT all that TensorRT supports.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paritygate.backends.contract import BackendError, PreparedModel, UnavailableError
from paritygate.backends.onnxruntime import optimised, providers

if TYPE_CHECKING:
    from paritygate.core.case import Target
    from paritygate.runtime.subject import BoundCase

# torch's default; 23 has Attention, whose kernels differed between devices until mid-2026
OPSET = 20
LAYOUT = 5  # version of the cache's format
INFERRED = re.compile(
    r"inferred a static shape of \d+ for dimension inputs\['flat'\]\[(\d+)\]\.shape\[(\d+)\]"
)
RECORDED = ("opset", "nodes", "dynamic", "static_dimensions")
# These are opened for one shape. Arithmetic of shapes would run on the CPU, which forbids a CUDA
# graph. TensorRT builds its engine for that shape, not for a range that grows with every new shape.
STATIC = ("onnxruntime_graph", "tensorrt")


def available(target: Target) -> str | None:
    """Return why the target cannot run here, or None. Every device but the CPU is taken for CUDA."""
    from importlib.util import find_spec

    if find_spec("onnxruntime") is None:
        return "the package onnxruntime is not installed; install onnxruntime-gpu (or onnxruntime)"
    return (_on_cpu if target.device == "cpu" else _on_gpu)(target)


def _on_cpu(target: Target) -> str | None:
    if target.backend == "onnxruntime_host":
        return "on a CPU this is what onnxruntime does"
    if target.backend != "onnxruntime":
        return f"{target.backend} needs a GPU"
    if target.dtype != "fp32":
        return f"onnxruntime's CPU provider has no {target.dtype} kernels: it would cast to fp32 and back"
    return None


def _on_gpu(target: Target) -> str | None:
    if not providers.built_for_cuda():
        return (
            "this onnxruntime is built without CUDA; install onnxruntime-gpu instead of onnxruntime"
        )
    if target.dtype.startswith("amp_"):
        return f"autocast is torch's; ask for {target.dtype.removeprefix('amp_')}"
    if target.backend == "onnxruntime_host" and target.dtype == "bf16":
        return "numpy has no bf16; onnxruntime takes it without numpy"
    if target.backend == "tensorrt" and not providers.tensorrt_libraries():
        return f"TensorRT ({providers.LIBRARIES[0]}) is not installed"
    return None


def preload() -> None:
    """Import the runtime; a worker then opens a session in milliseconds."""
    importlib.import_module("onnxruntime")


def artefact(subject: BoundCase) -> dict[str, Any]:
    """Export the model unless the cache holds it. Return facts about the file, with ``path`` and
    ``cold``.

    Dimensions that the exporter cannot keep dynamic become static, unless the case declares them;
    each shape then has an export of its own. If an export with dynamic dimensions fails, all become
    static; only an error without dynamic dimensions is raised.
    """
    from paritygate.backends.flat import example

    started, cold, inputs = time.perf_counter(), False, example(subject)
    dynamic, fixed = subject.dynamic(), list[str]()
    declared = subject.case.dynamic is not None  # declared dimensions must stay dynamic
    while True:
        folder = Path(subject.cache) / "onnx" / _key(subject, inputs, dynamic)
        made_static = None if declared else _made_static(folder)
        if made_static is None and (kept := _kept(folder)) is None:
            cold = True
            shutil.rmtree(folder, ignore_errors=True)  # the rest of a damaged entry
            try:
                _export(subject, inputs, folder, dynamic)
            except Exception as error:
                made_static = _inferred_static(error) or _pairs(dynamic)
                if not made_static or declared or isinstance(error, UnavailableError):
                    raise
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "static.json").write_text(json.dumps(made_static))
            else:
                kept = _kept(folder)
        if made_static is None:
            break
        fixed += [f"in_{place}.shape[{dim}]" for place, dim in made_static]
        if not any(dim in dynamic[place] for place, dim in made_static):
            raise BackendError(
                f"the exporter reports dimensions as static that are static already: {', '.join(fixed)}"
            )
        dynamic = [
            {dim: name for dim, name in dims.items() if [place, dim] not in made_static}
            for place, dims in enumerate(dynamic)
        ]
    if kept is None:
        raise BackendError(f"the export in {folder} cannot be read back")
    static = {"static_dimensions": fixed} if fixed else {}
    return (
        kept
        | static
        | {
            "path": str(folder / "model.onnx"),
            "cold": cold,
            "seconds": time.perf_counter() - started,
        }
    )


class MadeStaticError(Exception):
    """The export made dynamic dimensions static: pairs of input and dimension."""

    def __init__(self, dims: list[list[int]]) -> None:
        super().__init__(f"the export made dimensions static that must be dynamic: {dims}")
        self.dims = dims


def _made_static(folder: Path) -> list[list[int]] | None:
    """Return the dimensions that an earlier export of this key has found to be static; None if
    there were none.
    """
    try:
        dims: list[list[int]] = json.loads((folder / "static.json").read_text())
    except (OSError, ValueError):
        return None
    return dims


def _inferred_static(error: BaseException | None) -> list[list[int]]:
    """Return the dimensions that are static according to an exporter's error: pairs of input and
    dimension.
    """
    pairs: list[list[int]] = []
    while error is not None:
        if isinstance(error, MadeStaticError):
            pairs += error.dims
        pairs += [[int(place), int(dim)] for place, dim in INFERRED.findall(str(error))]
        error = error.__cause__
    return [pair for number, pair in enumerate(pairs) if pair not in pairs[:number]]


def _pairs(dynamic: Sequence[Mapping[int, str]]) -> list[list[int]]:
    """Return the dynamic dimensions as pairs of input and dimension."""
    return [[place, dim] for place, dims in enumerate(dynamic) for dim in dims]


def _kept(folder: Path) -> dict[str, Any] | None:
    """Return the facts of a cache entry, or None if there is none or its files are damaged."""
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        whole = meta["sha256"] == _digest(folder / "model.onnx")
    except (OSError, ValueError, KeyError):
        return None
    return meta if whole else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prepare(subject: BoundCase) -> PreparedModel:
    """Return a session on the exported file. Its provider is checked."""
    import onnxruntime

    meta = subject.scratch.artefact(subject.backend)
    asked = providers.wanted(subject, meta["path"])
    options = _options(subject)
    if subject.backend in STATIC:
        for name, size in _sizes(subject, meta).items():
            options.add_free_dimension_override_by_name(name, size)

    def opened() -> Any:
        return onnxruntime.InferenceSession(
            meta["path"], options, providers=asked, enable_fallback=0
        )

    session = opened()
    providers.check_session(session, asked, opened)

    def facts() -> dict[str, Any]:
        return {
            "providers": session.get_providers(),
            "nodes_by_provider": providers.placement(session, asked, meta["floating"]),
            **{name: meta[name] for name in (*optimised.FACTS, *RECORDED) if name in meta},
            **(
                {}
                if subject.device == "cpu"
                else {"provider_options": providers.session_options(session, asked)}
            ),
        }

    if subject.device == "cpu" or subject.backend == "onnxruntime_host":
        return _on_arrays(session, meta["inputs"], facts)
    return on_tensors(session, meta["inputs"], facts, subject)


def _sizes(subject: BoundCase, meta: dict[str, Any]) -> dict[str, int]:
    """Return the sizes of the dynamic dimensions at this shape, by the names that the export gave
    them.
    """
    from paritygate.runtime.nest import tensor_leaves

    leaves = tensor_leaves(subject.inputs()[0])
    return {
        name: leaves[place].shape[int(dim)]
        for place, dims in zip(meta["inputs"], meta["dims"], strict=True)
        for dim, name in dims.items()
    }


def _on_arrays(session: Any, kept: list[int], facts: Callable[[], dict[str, Any]]) -> PreparedModel:
    """Return a model that takes and returns numpy arrays, as most users of ONNX Runtime do.
    ``kept``: positions of the inputs that the graph uses.
    """
    import numpy as np
    import torch

    from paritygate.runtime.nest import tensor_leaves

    names = [value.name for value in session.get_inputs()]

    def feed(inputs: Any) -> dict[str, Any]:
        leaves = tensor_leaves(inputs)
        return {
            name: np.ascontiguousarray(leaves[place].cpu().numpy())
            for name, place in zip(names, kept, strict=True)
        }

    return PreparedModel(
        call=lambda fed: session.run(None, fed),
        model=session,
        to_inputs=feed,
        to_tensors=lambda raw: [torch.from_numpy(np.array(array)) for array in raw],
        facts=facts,
        reads_only=True,
        asynchronous=False,  # on a GPU it has a stream of its own
    )


def on_tensors(
    session: Any, kept: list[int], facts: Callable[[], dict[str, Any]], subject: BoundCase
) -> PreparedModel:
    """Return a model that takes and returns tensors of the device, on torch's stream."""
    from paritygate.backends.onnxruntime.binding import Binder, Graph
    from paritygate.runtime.nest import comparable, tensor_leaves

    binder, graphs = Binder(session), list[Graph]()
    resizable = subject.backend not in STATIC

    def used(inputs: Any) -> list[Any]:
        leaves = tensor_leaves(inputs)
        return [leaves[place] for place in kept]

    def replay(fed: list[Any]) -> Any:
        if not graphs:
            graphs.append(Graph(binder, fed))
        return graphs[0](fed)

    # if a session cannot capture a graph, it does not open or its first run fails
    def replayed() -> dict[str, Any]:
        return facts() | {"cuda_graph": bool(graphs)}

    if subject.backend == "onnxruntime_graph":
        return PreparedModel(
            call=replay,
            model=session,
            to_inputs=used,
            to_tensors=comparable,
            facts=replayed,
            resizable=resizable,
            reads_only=True,
        )
    return PreparedModel(
        call=binder,
        model=session,
        to_inputs=lambda inputs: binder.bind(used(inputs)),
        to_tensors=comparable,
        facts=facts,
        resizable=resizable,
        reads_only=True,
    )


def _options(subject: BoundCase) -> Any:
    """Return the session options. All that matter are set: the defaults depend on the host, not on
    the container.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = subject.threads
    options.inter_op_num_threads = 1
    # Users deploy with spinning. It does not disturb others here, because idle workers are stopped.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _key(subject: BoundCase, inputs: Any, dynamic: Sequence[Mapping[int, str]]) -> str:
    """Return a hash of everything that the export depends on: source, weights, signature, versions,
    options.
    """
    from importlib.metadata import version

    import torch

    from paritygate.runtime.nest import flatten, tensor_leaves, value_of

    signature = [
        [
            str(leaf.dtype),
            leaf.ndim,
            [size for dim, size in enumerate(leaf.shape) if dim not in dims],
            sorted(dims),
        ]
        for leaf, dims in zip(tensor_leaves(inputs), dynamic, strict=True)
    ]
    plain = [value_of(leaf) for leaf in flatten(inputs) if not torch.is_tensor(leaf)]
    content = {
        "layout": LAYOUT,
        "model": subject.case.model,
        "source": subject.source_digest(),
        "weights": subject.scratch.load("meta")["weights"],
        "signature": signature,
        "plain": plain,
        "opset": OPSET,
        "dtype": subject.dtype_name,
        "device": subject.device,
        "versions": {
            name: version(name) for name in ("torch", "onnx", "onnxscript", *_transformers())
        }
        | {"onnxruntime": __import__("onnxruntime").__version__},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def _transformers() -> tuple[str, ...]:
    import sys

    return ("transformers",) if "transformers" in sys.modules else ()


def _export(
    subject: BoundCase, inputs: Any, folder: Path, dynamic: Sequence[Mapping[int, str]]
) -> None:
    """Export, check that every dynamic dimension stayed dynamic, count nodes, and move the files
    into the cache in one step.

    Raises ``MadeStaticError`` if a dynamic dimension became static.
    """
    import onnx
    import torch

    from paritygate.backends.flat import Flat, exportable
    from paritygate.runtime.nest import tensor_leaves

    module = exportable(subject)
    leaves = tensor_leaves(inputs)

    temporary = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    path = temporary / "model.onnx"
    with torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            Flat(module, inputs).eval(),
            tuple(leaves),
            dynamo=True,
            opset_version=OPSET,
            input_names=[f"in_{number}" for number in range(len(leaves))],
            dynamic_shapes=(tuple(dict(dims) for dims in dynamic),),
            verbose=False,
        )
    assert program is not None
    for number, value in enumerate(program.model.graph.outputs):
        value.name = f"out_{number}"
    floating = {str(node.name): _touches_floats(node) for node in program.model.graph.all_nodes()}
    program.save(str(path), external_data=False)
    onnx.checker.check_model(str(path))
    model = onnx.load(str(path))
    kept = [int(value.name.removeprefix("in_")) for value in model.graph.input]
    if made_static := [
        [place, dim]
        for place, value in zip(kept, model.graph.input, strict=True)
        for dim in dynamic[place]
        if not value.type.tensor_type.shape.dim[dim].dim_param
    ]:
        shutil.rmtree(temporary)
        raise MadeStaticError(made_static)
    nodes = Counter(node.op_type for node in model.graph.node)
    # Not on a GPU: other optimisers run there, and the memory of a session in the reference worker
    # would be counted.
    counted = optimised.facts(_options(subject), path, nodes) if subject.device == "cpu" else {}
    meta = {
        "opset": OPSET,
        "nodes": dict(nodes),
        "dynamic": [sorted(dims) for dims in dynamic],
        "floating": floating,
        "inputs": kept,
        "dims": [
            {
                dim: size.dim_param
                for dim, size in enumerate(value.type.tensor_type.shape.dim)
                if size.dim_param
            }
            for value in model.graph.input
        ],
        "sha256": _digest(path),
    } | counted
    (temporary / "meta.json").write_text(json.dumps(meta))
    try:
        os.replace(temporary, folder)
    except OSError:  # another run was faster; its export is the same
        shutil.rmtree(temporary, ignore_errors=True)


def _touches_floats(node: Any) -> bool:
    """Return whether a node of the exported graph reads or writes floating numbers, or may do so.
    ``Shape`` reads none.
    """
    values = [*node.outputs, *(() if node.op_type in ("Shape", "Size") else node.inputs)]
    return any(
        value.dtype is None or value.dtype.is_floating_point()
        for value in values
        if value is not None
    )
