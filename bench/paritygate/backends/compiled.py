"""compile: ``torch.compile`` in its modes, a graph per shape; recompiles and undeclared breaks are
failures.

So is every answer that would come from eager under the name of compile: see ``Evidence``. What a
release of torch does not tell of that is the fact ``not_known``, and a warning.
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
    from paritygate.runtime.facts import CompileCounters, GraphBreak
    from paritygate.runtime.modes import Mode
    from paritygate.runtime.subject import BoundCase

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
    """Import dynamo and inductor with what they import late, and do once what every worker would
    otherwise repeat.

    Asking for the vector instructions starts a Python of its own, 1.1 s; a hash of torch's sources
    is part of every key of the cache, 0.2 s, and so is one of triton's, 0.25 s, where it is
    installed: with every torch for CUDA; the header of the C++ kernels is preprocessed to see
    whether it has changed, 0.15 s. None of it asks CUDA anything.
    """
    from paritygate.runtime import private

    for module in (
        "torch._dynamo",
        "torch._inductor.compile_fx",
        "torch.distributed.tensor.experimental",  # not in a torch without distributed training
    ):
        private.read(module)
    for probe in (
        "torch._inductor.codecache.torch_key",
        "torch._inductor.cpu_vec_isa.pick_vec_isa",
    ):
        if (ask := private.read(probe)) is not None:
            ask()
    if private.read("torch._inductor.runtime.triton_compat.HAS_TRITON"):
        private.read("torch._inductor.runtime.triton_compat.triton_key")()
    # no C++ compiler, say: a worker that needs one will meet and report it
    with suppress(Exception):
        # prepares, compiles nothing
        private.read("torch._inductor.codecache.CppPythonBindingsCodeCache").load_pybinding_async(
            [], 'extern "C" void kernel() {}'
        )


def prepare(subject: BoundCase) -> PreparedModel:
    """Return the compiled model: static shapes, counted from zero."""
    import torch

    from paritygate.runtime.facts import CompileCounters, sdpa_kernels
    from paritygate.runtime.modes import mode_of

    module = subject.module()
    if (reason := unsuitable(module)) is not None:
        raise UnavailableError(reason)
    silent = raise_instead_of_eager()
    counters = CompileCounters(module)
    compiled = torch.compile(module, mode=MODES[subject.backend], dynamic=False)
    # CUDA graphs, which own their outputs
    graphs = subject.device == "cuda" and subject.backend != "compile"
    evidence = Evidence(
        counters,
        subject.case.graph_breaks,
        graphs and subject.backend == "compile_reduce_overhead",
        silent,
    )

    def stepping(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()  # the outputs of the call before may be written over
        return compiled(*args, **kwargs)

    def limited(*args: Any, **kwargs: Any) -> Any:
        with evidence.limit():
            return forward(*args, **kwargs)

    forward = stepping if graphs else compiled
    # which is called for its curve, too, not under the guard
    training = subject.case.mode == "training"
    mode = mode_of(subject, module, lambda _: limited if training else forward)
    return evidence.of(
        PreparedModel.of(
            mode,
            model=compiled,
            facts=evidence.facts,
            steady_context=steady,
            # a graph is replayed past the dispatcher, which is what a profile sees
            kernels=lambda inputs: None if graphs else sdpa_kernels(lambda: mode(inputs)),
            resizable=False,
        ),
        mode,
    )


def unsuitable(module: Any) -> str | None:
    """Return why a model is not for torch.compile, or None."""
    import torch

    from paritygate.runtime import private

    kind = type(module).__name__
    optimized = private.read("torch._dynamo.OptimizedModule")
    if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        return (
            f"the model is a TorchScript module ({kind}); torch.compile takes Python modules: "
            "give the module that was scripted or traced"
        )
    if (
        (optimized is not None and isinstance(module, optimized))
        or hasattr(module, "_torchdynamo_orig_callable")
        or getattr(module, "_compiled_call_impl", None) is not None
    ):
        return f"the model ({kind}) was compiled by torch.compile already; give it as it was before"
    return None


def raise_instead_of_eager() -> list[str]:
    """Have torch raise where it would go on in eager without a word, whatever the model's module
    has set.

    Such places are the recompile limit, an error while compiling, a recompile under the stance
    "eager_on_recompile". Return those in which this torch cannot be told to.
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
    """Raise ``BackendError`` with the guard where the measured loop would compile anything."""
    import torch

    from paritygate.runtime.facts import Recompile

    try:
        with torch.compiler.set_stance("fail_on_recompile"):
            yield
    except RuntimeError as error:
        if "fail_on_recompile" not in str(error):
            raise
        again = Recompile.of_stance(str(error))
        raise BackendError(
            f"recompile in the measured loop: {again}; {KEEP}\n\n{again.reason}"
        ) from error


KEEP = "keep what changes from call to call in a tensor, or out of forward"
SKIP = 'skip the cell: skips={"compile*": "why"}'
RNN = "torch._dynamo.config.allow_rnn = True in the model's module has torch compile nn.RNN, nn.GRU and nn.LSTM"


class Evidence:
    """Check that the answers came from compiled graphs.

    ``facts`` is asked after the checked calls; the first time it makes two calls of its own.
    ``declared``: how many graph breaks there must be. ``replayed``: no CUDA graph may be skipped.
    ``silent``: where this torch may go on in eager without a word.
    """

    def __init__(
        self, counters: CompileCounters, declared: int, replayed: bool, silent: list[str]
    ) -> None:
        self._counters, self._declared, self._replayed = counters, declared, replayed
        self._silent = silent
        self._opened = False  # the first call has been made
        self._compiled: int | None = None  # frames, by the first call
        self._inputs: Any = None  # of the first call, until facts() has called with them again

    def of(self, ready: PreparedModel, mode: Mode) -> PreparedModel:
        """Return the same, its first call watched, and the recompile limit told in every call under
        its guard.
        """
        self._mode, self._ready = mode, ready
        ready.call, ready.context = self._first, self._guard
        return ready

    def facts(self) -> dict[str, Any]:
        """Return the facts of the compilation; raise ``BackendError`` or ``UnavailableError`` where
        eager answered instead.

        ``not_known`` among them: what this torch does not tell, so that nothing was proved by it.
        """
        self._call_twice()
        counters = self._counters
        found, breaks = counters.facts(), counters.breaks()
        not_known = [*self._silent, *found.pop("not_known", ())]
        if found.get("graphs", counters.compiled()) == 0:
            raise _nothing_captured(breaks or [])
        if (place := counters.overlooked()) is not None:
            raise BackendError(
                f"fallback: torch.compile captured functions that the model calls, its own ran in eager: {place}; "
                f"is it decorated with torch.compiler.disable? If it must be, {SKIP}"
            )
        if breaks is not None and len(breaks) != self._declared:
            raise _undeclared(breaks, self._declared)
        if self._replayed and "cudagraph_skips" not in found:
            not_known.append("skipped CUDA graphs")
        elif self._replayed and found["cudagraph_skips"]:
            reasons = "; ".join(found.get("cudagraph_skip_reasons", ())) or "no reason given"
            raise BackendError(
                f"fallback: CUDA graphs were skipped {found['cudagraph_skips']} times ({reasons})"
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
        found["cold"] = counters.cold()
        if again is not None:
            found["recompiles"] = 0
        if not_known:
            found["not_known"] = not_known
        return found

    @contextmanager
    def limit(self) -> Iterator[None]:
        """Raise torch's error at the recompile limit as ``BackendError``, with the guard that
        failed.
        """
        from paritygate.runtime import private

        try:
            yield
        except Exception as error:
            kind = private.read("torch._dynamo.exc.FailOnRecompileLimitHit")
            again = self._counters.recompiles()
            if kind is None or not isinstance(error, kind) or not again:
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
        """Make the first call; those after it, which are timed, go to the mode itself."""
        if self._opened:  # held by what was wrapped around it
            return self._mode(inputs)
        if self._ready.call == self._first:
            self._ready.call = self._mode
        self._inputs = _copied(inputs)  # as they are before a call, which may write to them
        answer = self._mode(inputs)
        self._opened, self._compiled = True, self._counters.compiled()
        return answer

    def _call_twice(self) -> None:
        """Call twice in a row, the first time facts are asked for; a recompile is found among the
        frames.

        Checked calls may begin with the initial state put back, timed ones follow each other. A
        training resets itself.
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
    """Return a copy of inputs, in case a call writes to them.

    Inference tensors stay: preprocessing makes them for one call, and a copy made here would be a
    normal tensor, for which torch compiles anew.
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
    """Return the exception for a number of graph breaks that is not the declared one."""
    advice = (
        f"rewrite the line, or declare graph_breaks={len(breaks)}" if breaks else "declare none"
    )
    if any(_of_rnn(broken) for broken in breaks):
        advice = f"{RNN}, experimentally; or declare graph_breaks={len(breaks)}"
    found = f"graph break: {len(breaks)} found, {declared} declared"
    return BackendError(f"{found} ({_listed(breaks)}); {advice}{_whole(breaks)}")


def _of_rnn(broken: GraphBreak) -> bool:
    return re.search(r"\b(RNN|GRU|LSTM)\b", broken.kind) is not None


def _listed(breaks: list[GraphBreak]) -> str:
    return listed([str(broken) for broken in breaks], "; ") or "torch gives no reason"


def _whole(breaks: list[GraphBreak]) -> str:
    return "".join(f"\n\n{broken.place}: {broken.reason}" for broken in breaks)
