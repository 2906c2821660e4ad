"""compile: ``torch.compile`` in its modes, one graph for each shape. Recompiles and undeclared
graph breaks are failures.

An answer that comes from eager under the name of compile is a failure, too; see ``Evidence``. The
fact ``not_known`` lists the evidence that this release of torch does not report; it is also a
warning.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from paritygate.backends.contract import BackendError, PreparedModel, UnavailableError
from paritygate.core.reasons import listed

if TYPE_CHECKING:
    from paritygate.core.case import Target
    from paritygate.runtime.compilation import CompileCounters, GraphBreak
    from paritygate.runtime.modes import Mode
    from paritygate.runtime.subject import BoundCase

MODES = {
    "compile": "default",
    "compile_reduce_overhead": "reduce-overhead",
    "compile_max_autotune": "max-autotune",
}


def available(target: Target) -> str | None:
    """Return why the target cannot run here, or None: a CPU needs a C++ compiler, and CUDA graphs
    exist on CUDA only. Every device but the CPU is taken for CUDA.
    """
    if target.device == "cpu":
        if target.backend == "compile_reduce_overhead":
            return "reduce-overhead means CUDA graphs; on a CPU it is the same as compile"
        if not has_compiler("CXX", "g++", "clang++"):
            return "torch.compile needs a C++ compiler on a CPU; install g++"
    elif not has_compiler("CC", "gcc", "clang"):
        return "torch.compile needs a C compiler on a GPU, because Triton builds a driver module; install gcc"
    return None


def has_compiler(variable: str, usual: str, other: str) -> bool:
    """Return whether inductor would find a compiler: the one in the environment variable or the
    usual one, else the other.
    """
    return any(shutil.which(name) for name in (os.environ.get(variable) or usual, other))


def preload() -> None:
    """Import dynamo and inductor with their late imports, and do once the work that every worker
    would repeat.

    The work and its time:

    - Finding the vector instructions, which starts another Python: 1.1 s.
    - Hashing torch's sources for the keys of the cache: 0.2 s.
    - Hashing triton's sources where it is installed, which is with every torch for CUDA: 0.25 s.
    - Preprocessing the header of the C++ kernels, to see whether it has changed: 0.15 s.

    None of it calls CUDA.
    """
    from paritygate.runtime import private

    for module in (
        "torch._dynamo",
        "torch._inductor.compile_fx",
        "torch.distributed.tensor.experimental",  # not in a torch without distributed training
    ):
        private.read(module)
    probes = ["torch._inductor.codecache.torch_key", "torch._inductor.cpu_vec_isa.pick_vec_isa"]
    if private.read("torch._inductor.runtime.triton_compat.HAS_TRITON"):
        probes.append("torch._inductor.runtime.triton_compat.triton_key")
    for probe in probes:
        if (ask := private.read(probe)) is not None:
            ask()
    # e.g. without a C++ compiler: a worker that needs one meets and reports it
    with suppress(Exception):
        # this prepares and compiles nothing
        private.read("torch._inductor.codecache.CppPythonBindingsCodeCache").load_pybinding_async(
            [], 'extern "C" void kernel() {}'
        )


def prepare(subject: BoundCase) -> PreparedModel:
    """Return the compiled model with static shapes. Its counters start at zero."""
    import torch

    from paritygate.runtime.compilation import CompileCounters
    from paritygate.runtime.facts import sdpa_kernels
    from paritygate.runtime.modes import mode_of

    module = subject.module()
    if (reason := unsuitable(module)) is not None:
        raise UnavailableError(reason)
    silent = raise_instead_of_eager()
    counters = CompileCounters(module)
    compiled = torch.compile(module, mode=MODES[subject.backend], dynamic=False)
    # with CUDA graphs, which own their outputs
    graphs = subject.device == "cuda" and subject.backend != "compile"
    evidence = Evidence(
        counters,
        subject.case.graph_breaks,
        graphs and subject.backend == "compile_reduce_overhead",
        silent,
    )

    def stepping(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # the last outputs may be overwritten
        return compiled(*args, **kwargs)

    def limited(*args: Any, **kwargs: Any) -> Any:
        with evidence.limit():
            return forward(*args, **kwargs)

    forward = stepping if graphs else compiled
    # a training's loss curve calls the mode without the guard, so the limit goes around the forward
    training = subject.case.mode == "training"
    mode = mode_of(subject, module, lambda _: limited if training else forward)
    return evidence.watch(
        PreparedModel.from_mode(
            mode,
            model=compiled,
            facts=evidence.facts,
            steady_context=steady,
            # a replayed graph bypasses the dispatcher, so a profile does not see its kernels
            kernels=lambda inputs: None if graphs else sdpa_kernels(lambda: mode(inputs)),
            resizable=False,
        ),
        mode,
    )


def unsuitable(module: Any) -> str | None:
    """Return why a model cannot be compiled by torch.compile, or None."""
    import torch

    from paritygate.runtime import private

    kind = type(module).__name__
    optimized = private.read("torch._dynamo.OptimizedModule")
    if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        return (
            f"the model is a TorchScript module ({kind}); torch.compile takes Python modules: "
            "use the module before it was scripted or traced"
        )
    if (
        (optimized is not None and isinstance(module, optimized))
        or hasattr(module, "_torchdynamo_orig_callable")
        or getattr(module, "_compiled_call_impl", None) is not None
    ):
        return (
            f"the model ({kind}) was compiled by torch.compile already; use the module before that"
        )
    return None


def raise_instead_of_eager() -> list[str]:
    """Make torch raise where it would silently continue in eager, whatever the model's module has
    set.

    Such places are the recompile limit, an error while compiling, and a recompile under the stance
    "eager_on_recompile". Return the places where this torch has no such setting.
    """
    import torch

    from paritygate.runtime import private

    silent = []
    if not private.assign("torch._dynamo.config.suppress_errors", False):
        silent.append("errors while compiling")
    if not private.assign("torch._dynamo.config.fail_on_recompile_limit_hit", True):
        silent.append("the recompile limit")
    torch.compiler.set_stance("default")
    return silent


@contextmanager
def steady() -> Iterator[None]:
    """Raise ``BackendError`` with the guard if the measured loop would compile anything."""
    import torch

    from paritygate.runtime.compilation import Recompile

    try:
        with torch.compiler.set_stance("fail_on_recompile"):
            yield
    except RuntimeError as error:
        if "fail_on_recompile" not in str(error):
            raise
        again = Recompile.from_stance(str(error))
        raise BackendError(
            f"recompile in the measured loop: {again}; {KEEP}\n\n{again.reason}"
        ) from error


KEEP = "keep values that change from call to call in a tensor, or out of forward"
SKIP = 'skip the cell: skips={"compile*": "why"}'
RNN = "torch._dynamo.config.allow_rnn = True in the model's module makes torch compile nn.RNN, nn.GRU and nn.LSTM"


class Evidence:
    """Checks that the answers came from compiled graphs.

    ``declared``: the number of graph breaks that there must be. ``replayed``: no CUDA graph may be
    skipped. ``silent``: the places where this torch may silently continue in eager. ``facts`` is
    called after the checked calls; the first time it makes two calls of its own.
    """

    def __init__(
        self, counters: CompileCounters, declared: int, replayed: bool, silent: list[str]
    ) -> None:
        self._counters, self._declared, self._replayed = counters, declared, replayed
        self._silent = silent
        self._opened = False  # the first call has been made
        self._compiled: int | None = None  # frames compiled by the first call
        self._inputs: Any = None  # those of the first call, until facts() has used them

    def watch(self, ready: PreparedModel, mode: Mode) -> PreparedModel:
        """Return the prepared model with its first call recorded, and with the recompile limit as
        an error in every call under its guard.
        """
        self._mode, self._ready = mode, ready
        ready.call, ready.context = self._first, self._guard
        return ready

    def facts(self) -> dict[str, Any]:
        """Return the facts of the compilation. ``not_known``: the evidence that this torch does not
        report.

        Raises ``BackendError`` or ``UnavailableError`` if eager answered instead.
        """
        self._call_twice()
        counters = self._counters
        facts, breaks = counters.facts(), counters.breaks()
        not_known = [*self._silent, *facts.pop("not_known", ())]
        if facts.get("graphs", counters.compiled()) == 0:
            raise _nothing_captured(breaks or [])
        if (place := counters.overlooked()) is not None:
            raise BackendError(
                f"fallback: torch.compile captured functions that the model calls, its forward ran in eager: {place}; "
                f"is it decorated with torch.compiler.disable? If it must be, {SKIP}"
            )
        if breaks is not None and len(breaks) != self._declared:
            raise _undeclared(breaks, self._declared)
        if self._replayed and "cudagraph_skips" not in facts:
            not_known.append("skipped CUDA graphs")
        elif self._replayed and facts["cudagraph_skips"]:
            reasons = "; ".join(facts.get("cudagraph_skip_reasons", ())) or "no reason given"
            raise BackendError(
                f"fallback: CUDA graphs were skipped {facts['cudagraph_skips']} times ({reasons})"
            )
        # All calls are of one layout. In the first one, layers that break their graph may share a
        # function.
        since = counters.compiled() if self._compiled is None else self._compiled
        again = counters.recompiles(since or 0)
        if again:
            more = f" ({len(again)} in all)" if len(again) > 1 else ""
            raise BackendError(
                f"recompile between calls of one layout: {again[0]}{more}; {KEEP}\n\n{again[0].reason}"
            )
        facts["cold"] = counters.cold()
        if again is not None:
            facts["recompiles"] = 0
        if not_known:
            facts["not_known"] = not_known
        return facts

    @contextmanager
    def limit(self) -> Iterator[None]:
        """Raise torch's error at the recompile limit as ``BackendError``, with the guard that
        failed.
        """
        from paritygate.runtime import private

        try:
            yield
        except Exception as error:
            # looked up only now: a training's timed steps pass through here
            reached = private.read("torch._dynamo.exc.FailOnRecompileLimitHit")
            if reached is None or not isinstance(error, reached):
                raise
            again = self._counters.recompiles()
            if not again:
                raise  # as torch words it
            raise BackendError(
                f"recompile limit: after {len(again)} recompiles torch.compile would go on in eager: {again[-1]}; "
                f"{KEEP}, or set torch._dynamo.config.recompile_limit in the model's module if so many graphs are "
                f"meant\n\n{again[-1].reason}"
            ) from error

    @contextmanager
    def _guard(self) -> Iterator[None]:
        with self._mode.context(), self.limit():
            yield

    def _first(self, inputs: Any) -> Any:
        """Run the first call. Later calls, which are timed, go to the mode itself."""
        if self._opened:  # a wrapper still holds this method
            return self._mode(inputs)
        if self._ready.call == self._first:
            self._ready.call = self._mode
        self._inputs = _copied(inputs)  # copied before the call, which may write to them
        answer = self._mode(inputs)
        self._opened, self._compiled = True, self._counters.compiled()
        return answer

    def _call_twice(self) -> None:
        """Call twice in a row, the first time that facts are needed, so that a recompile shows
        among the frames.

        Checked calls may start from the restored initial state, while timed ones follow each other.
        A training resets itself.
        """
        inputs, self._inputs = self._inputs, None
        if inputs is None or self._ready.training is not None:
            return
        with self._guard():
            for _ in range(2):
                self._mode(_copied(inputs))
        if self._ready.reset is not None:
            self._ready.reset()


def _copied(inputs: Any) -> Any:
    """Return a copy of the inputs, in case a call writes to them.

    Inference tensors are not copied: preprocessing makes them for one call, and a copy made here
    would be a normal tensor, for which torch compiles again.
    """
    from paritygate.runtime.nest import fresh, tensor_leaves

    return inputs if any(leaf.is_inference() for leaf in tensor_leaves(inputs)) else fresh(inputs)


def _nothing_captured(breaks: list[GraphBreak]) -> Exception:
    """Return the exception for a model that ran in eager as a whole."""
    from paritygate.runtime import private

    places = _listed(breaks)
    if any(_of_rnn(broken) for broken in breaks):
        return UnavailableError(
            f"torch.compile takes no RNN by default, the model would run in eager: {places}; {RNN}, experimentally"
        )
    if private.read("torch._dynamo.config.disable"):
        places = "torch._dynamo.config.disable is set, or TORCH_COMPILE_DISABLE"
    return BackendError(
        f"fallback: torch.compile captured no graph, the model ran in eager: {places}{_whole(breaks)}"
    )


def _undeclared(breaks: list[GraphBreak], declared: int) -> BackendError:
    """Return the exception for a number of graph breaks that differs from the declared one."""
    advice = (
        f"rewrite the line, or declare graph_breaks={len(breaks)}" if breaks else "declare none"
    )
    if any(_of_rnn(broken) for broken in breaks):
        advice = f"{RNN}, experimentally; or declare graph_breaks={len(breaks)}"
    counts = f"graph break: {len(breaks)} found, {declared} declared"
    return BackendError(f"{counts} ({_listed(breaks)}); {advice}{_whole(breaks)}")


def _of_rnn(broken: GraphBreak) -> bool:
    return re.search(r"\b(RNN|GRU|LSTM)\b", broken.kind) is not None


def _listed(breaks: list[GraphBreak]) -> str:
    return listed([str(broken) for broken in breaks], "; ") or "torch gives no reason"


def _whole(breaks: list[GraphBreak]) -> str:
    return "".join(f"\n\n{broken.place}: {broken.reason}" for broken in breaks)
