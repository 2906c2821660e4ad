"""compile: ``torch.compile`` in its modes, a graph per shape; recompiles and undeclared breaks are failures."""

from __future__ import annotations

import importlib
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bench.backends import Misbehaved

if TYPE_CHECKING:
    from bench.backends import Prepared
    from bench.case import Target
    from bench.subject import Subject

MODES = {
    "compile": "default",
    "compile_reduce_overhead": "reduce-overhead",
    "compile_max_autotune": "max-autotune",
}


def available(target: Target) -> str | None:
    """A C++ compiler is needed on CPUs; CUDA graphs exist on CUDA only."""
    if target.device == "cpu":
        if target.backend == "compile_reduce_overhead":
            return "reduce-overhead means CUDA graphs; on a CPU it is the same as compile"
        if not has_compiler("CXX", "g++", "clang++"):
            return "torch.compile needs a C++ compiler on a CPU; install g++"
    elif not has_compiler("CC", "gcc", "clang"):
        return "torch.compile needs a C compiler on a GPU, for what Triton makes of its driver; install gcc"
    return None


def has_compiler(variable: str, usual: str, other: str) -> bool:
    """Whether inductor would find a compiler: the variable's or the usual one, else the other."""
    return any(shutil.which(name) for name in (os.environ.get(variable) or usual, other))


def preload() -> None:
    """Import dynamo and inductor with what they import late, and do once what every worker would otherwise repeat.

    Asking for the vector instructions starts a Python of its own, 1.1 s; a hash of torch's sources is part of every
    key of the cache, 0.2 s, and so is one of triton's, 0.25 s, where it is installed: with every torch for CUDA; the
    header of the C++ kernels is preprocessed to see whether it has changed, 0.15 s. None of it asks CUDA anything.
    """
    importlib.import_module("torch._dynamo")
    importlib.import_module("torch._inductor.compile_fx")
    with suppress(ImportError):  # a torch without distributed training
        importlib.import_module("torch.distributed.tensor.experimental")
    from torch._inductor.codecache import CppPythonBindingsCodeCache, torch_key
    from torch._inductor.cpu_vec_isa import pick_vec_isa
    from torch._inductor.runtime.triton_compat import HAS_TRITON, triton_key

    torch_key()
    if HAS_TRITON:
        triton_key()
    pick_vec_isa()
    with suppress(Exception):  # no C++ compiler, say: a worker that needs one will meet and report it
        CppPythonBindingsCodeCache.load_pybinding_async([], 'extern "C" void kernel() {}')  # prepares, compiles nothing


def prepare(subject: Subject) -> Prepared:
    """The compiled model: static shapes, counted from zero."""
    import torch

    from bench.facts import CompileCounters, sdpa_kernels
    from bench.modes import mode_of, prepared

    module = subject.module()
    counters = CompileCounters()
    compiled = torch.compile(module, mode=MODES[subject.backend], dynamic=False)
    graphs = subject.device == "cuda" and subject.backend != "compile"  # CUDA graphs, which own their outputs

    def stepping(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # the outputs of the call before may be written over
        return compiled(*args, **kwargs)

    mode = mode_of(subject, module, lambda _: stepping if graphs else compiled)
    declared = subject.case["graph_breaks"]
    first: dict[str, int] = {}  # how many graphs there were when the first calls were done

    def facts() -> dict[str, Any]:
        found = counters.facts()
        found["recompiles"] = found["graphs"] - first.setdefault("graphs", found["graphs"])
        if found["graph_breaks"] != declared:
            reasons = "; ".join(found["graph_break_reasons"]) or "none"
            raise Misbehaved(f"graph break: {found['graph_breaks']} found, {declared} declared ({reasons})")
        if not found["graphs"]:
            raise Misbehaved("fallback: torch.compile captured no graph, the model ran in eager")
        if graphs and subject.backend == "compile_reduce_overhead" and found["cudagraph_skips"]:
            reasons = "; ".join(found["cudagraph_skip_reasons"]) or "no reason given"
            raise Misbehaved(f"fallback: CUDA graphs were skipped {found['cudagraph_skips']} times ({reasons})")
        if found["recompiles"]:
            raise Misbehaved(f"recompile in the measured loop: {found['recompiles']} graphs more than before it")
        return found | {"cold": counters.cold()}

    return prepared(
        mode,
        model=compiled,
        facts=facts,
        steady=lambda: torch.compiler.set_stance("fail_on_recompile"),
        # a graph is replayed past the dispatcher, which is what a profile sees
        kernels=lambda inputs: None if graphs else sdpa_kernels(lambda: mode(inputs)),
        resizable=False,
    )
