"""Deterministic facts of a model and its compilation: FLOPs, parameters, kernels, graphs. Compared
exactly.

The one file that reads torch's private counters (``torch._dynamo``, ``torch._inductor``); tried with
torch 2.13 and 2.14. What a release does not count is not known: the fact is left out.
"""

from __future__ import annotations

import hashlib
import linecache
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from paritygate.runtime import precision, private

SDPA_KERNELS = {
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_efficient_attention": "efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_attention_math": "math",
    "aten::_scaled_dot_product_fused_attention_overrideable": "overrideable",
}

TORCH = os.path.dirname(torch.__file__) + os.sep
STDLIB = sysconfig.get_path("stdlib") + os.sep
# dynamo's name of the rest of a function after a break
RESUMED = re.compile(r"torch_dynamo_resume_in_(.+)_at_\d+")
# torch's label where Python inlines comprehensions, from 3.12 on
COMPREHENSION = "comprehension_graph_break"
# a frame of the user's in what torch says of a guard
STACKED = re.compile(r'File "(.+)", line (\d+), in \S+')
# fact -> torch's counter of it, by group and name; one that was never counted is 0
COUNTERS = {
    "graphs": ("stats", "unique_graphs"),
    "captured_calls": ("stats", "calls_captured"),
    "fused_attention": ("inductor", "fuse_attention"),
    "cache_hits": ("inductor", "fxgraph_cache_hit"),
    "cache_misses": ("inductor", "fxgraph_cache_miss"),
    "cache_bypasses": ("inductor", "fxgraph_cache_bypass"),
    "autograd_cache_hits": ("aot_autograd", "autograd_cache_hit"),
    "autograd_cache_misses": ("aot_autograd", "autograd_cache_miss"),
    "cudagraph_skips": ("inductor", "cudagraph_skips"),
}
# in its refusal to recompile
STANCE = re.compile(r"filename: '(.*)', function name: '(.*)', line number: (\d+)")


def settings() -> dict[str, Any]:
    """The settings that change what is computed or how fast; every backend must leave them as they
    are.
    """
    return {
        "threads": torch.get_num_threads(),
        "flush_denormal": bool(torch.tensor(1e-310, dtype=torch.float64).mul(1.0).item() == 0.0),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "grad": torch.is_grad_enabled(),
    } | precision.found()


def other_mode(module: torch.nn.Module, training: bool) -> dict[str, list[str]]:
    """The parts that keep a mode of their own, whatever the model is put in; none of what lies in
    such a part.
    """
    found = list[str]()
    for name, part in module.named_modules():  # outer ones first
        if part.training != training and not any(name.startswith(f"{above}.") for above in found):
            found.append(name)
    if found[:1] == [""]:
        found = ["the whole model"]
    return {"in_eval" if training else "in_training": found} if found else {}


def parameters(module: torch.nn.Module) -> int:
    """How many numbers the weights hold; shared ones count once."""
    return sum(p.numel() for p in module.parameters())


def flops(run: Callable[[], Any]) -> int | None:
    """Floating point operations of one eager call: matrix products, convolutions and attention.

    Counted with the math kernel forced, because the CPU's flash operator has no formula and would
    count as none (``torch/utils/flop_counter.py``). None where that fails, e.g. on a kernel that is
    forced otherwise.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Untracked()
    try:
        with sdpa_kernel(SDPBackend.MATH), counter:
            run()
    except Exception:  # a fact that cannot be had is left out, whatever the reason
        return None
    return int(counter.get_total_flops())


class _Untracked(nullcontext[None]):
    """Stands in for the counter's ``ModuleTracker``, whose hooks raise in ``autograd.grad`` of a
    module's inputs.
    """

    parents = frozenset({"Global"})  # what the operations are booked under


def traffic(module: torch.nn.Module, inputs: Iterable[Any], answer: Iterable[torch.Tensor]) -> int:
    """The least bytes that a call must move: inputs, parameters, buffers and what it answers, each
    tensor once.

    The answers of the modes that give gradients hold those, too.
    """
    leaves = [*inputs, *module.parameters(), *module.buffers(), *answer]
    different = {id(leaf): leaf for leaf in leaves if torch.is_tensor(leaf)}
    return sum(leaf.numel() * leaf.element_size() for leaf in different.values())


def sdpa_kernels(run: Callable[[], Any]) -> dict[str, int]:
    """Which attention kernels one call ran, and how often each: by profile, not by what was asked
    for.
    """
    with torch.autograd.profiler.profile() as profile:
        run()
    seen = Counter(event.name for event in profile.function_events)
    # math is the fallback inside the generic operator: the fused ones never call it
    return {kernel: seen[name] for name, kernel in SDPA_KERNELS.items() if seen[name]}


def operator_times(run: Callable[[], Any], device: str = "cpu", calls: int = 5) -> dict[str, float]:
    """Seconds a call by operator, its own time without what it calls; compiled kernels count as one
    another.

    On a GPU its own time there: that of the host is the launching.
    """
    kind = None if device == "cpu" else device
    with torch.autograd.profiler.profile(use_device=kind) as profile:
        for _ in range(calls):
            run()
    events = profile.key_averages()
    if kind is None:
        return {event.key: event.self_cpu_time_total / 1e6 / calls for event in events}
    # An operator holds the time of the kernels that it launched, which are events of the device
    # besides.
    operators = [event for event in events if event.device_type is DeviceType.CPU]
    return {event.key: event.self_device_time_total / 1e6 / calls for event in operators}


@dataclass(frozen=True)
class GraphBreak:
    """A place of the user's code at which torch.compile ended a graph."""

    place: str  # file:line and the line itself
    kind: str  # the first line of torch's reason
    reason: str  # all of it
    # the functions that run in eager as a whole, because torch cannot resume there
    eager: tuple[str, ...] = ()

    def __str__(self) -> str:
        skipped = f" (in eager as a whole: {', '.join(self.eager)})" if self.eager else ""
        return f"{self.place}: {self.kind}{skipped}"


@dataclass(frozen=True)
class Recompile:
    """A frame that was compiled before and was compiled again, or would have been."""

    frame: str  # function and file:line
    guard: str  # the first one that failed, "" where torch names none
    place: str  # file:line and the line that needs the guard, "" where torch does not tell
    reason: str  # torch's, whole

    @classmethod
    def of(cls, frame: str, reason: str) -> Recompile:
        """Read torch's reason: the guard, a comment, and a user stack trace in the lines below."""
        guard, _, comment = re.sub(r"^\s*(- )?\d+/\d+: ", "", reason.partition("\n")[0]).partition(
            "  # "
        )
        stacked = [(file, int(line)) for file, line in STACKED.findall(reason)]
        own = [at for at in stacked if not _foreign(at[0])] or stacked
        return cls(
            frame,
            guard.strip(),
            _place(*own[-1]) if own else comment.partition(" (HINT")[0].strip(),
            reason,
        )

    @classmethod
    def of_stance(cls, message: str) -> Recompile:
        """Read the error of the stance ``fail_on_recompile``."""
        where, _, guards = message.partition("guard failure(s):")
        named = STANCE.search(where)
        frame = _frame(named[2], named[1], int(named[3])) if named else "a frame"
        return cls.of(
            frame, "\n".join(re.sub(r"^\s*- ", "", line) for line in guards.strip().splitlines())
        )

    def __str__(self) -> str:
        if not self.guard:
            return f"{self.frame} was not compiled before, or torch names no guard"
        return f"{self.frame}: guard `{self.guard}` failed{self.place and f', {self.place}'}"


@dataclass(frozen=True)
class Attempt:
    """An attempt to compile a frame, as torch's CompilationMetrics tell it under the same names.

    None: torch has nothing to tell, or this release has no such field (``CompileCounters._tells``).
    """

    co_name: str | None
    co_filename: str | None
    co_firstlineno: int | None
    compile_id: str | None
    recompile_reason: str | None
    fail_type: str | None
    fail_reason: str | None
    fail_user_frame_filename: str | None
    fail_user_frame_lineno: int | None
    graph_op_count: int | None

    @classmethod
    def of(cls, metrics: Any) -> Attempt:
        """Read torch's object."""
        return cls(**{each.name: getattr(metrics, each.name, None) for each in fields(cls)})

    @property
    def frame(self) -> str:
        """The function with its place, "a frame" where torch does not name it."""
        if not self.co_name:
            return "a frame"
        return _frame(self.co_name, self.co_filename or "?", self.co_firstlineno or 0)


class CompileCounters:
    """Count what dynamo and inductor do from here on; ``model``: what is compiled.

    Dynamo's own counter of graph breaks has no data-dependent branches and no frames that are
    skipped as a whole. All breaks it resumes from are in ``graph_break_reasons``; frames it gave
    up, and all compilations, in the metrics.
    """

    def __init__(self, model: Any = None) -> None:
        self._counters = private.read("torch._dynamo.utils.counters")
        self._reasons = private.read("torch._dynamo.utils.graph_break_reasons")
        self._metrics = _metrics_of_all()
        for counted in (self._counters, self._reasons):
            if counted is not None:
                counted.clear()
        self._codes = list(_codes(model))
        self._model = next(
            (_place(*code) for code in reversed(self._codes) if not _foreign(code[0])),
            type(model).__name__,
        )

    def facts(self) -> dict[str, Any]:
        """Graphs, graph breaks and skipped CUDA graphs with their reasons, cache hits and misses,
        fusions.

        What this torch does not tell is left out; ``not_known`` names what of it proves that eager
        did not answer.
        """
        found: dict[str, Any] = self._counted()
        if not_known := self._not_known():
            found["not_known"] = not_known
        if (breaks := self.breaks()) is not None:
            found["graph_breaks"] = len(breaks)
            found["graph_break_reasons"] = dict.fromkeys(map(str, breaks), 1)
        if self._tells("cudagraph_skip_reason"):
            found["cudagraph_skip_reasons"] = sorted(
                {
                    metrics.cudagraph_skip_reason
                    for metrics in self._kept()
                    if metrics.cudagraph_skip_reason
                }
            )
        return found

    def cold(self) -> bool:
        """Whether anything had to be compiled that a cache would have held."""
        return bool(self._counted().get("cache_misses"))

    def breaks(self) -> list[GraphBreak] | None:
        """Return every graph break; those of one kind at one line, in a loop or in several graphs,
        are one. None where torch does not tell all of them.
        """
        if self._reasons is None or not all(
            hasattr(broken, name) for broken in self._reasons for name in ("reason", "user_stack")
        ):
            return None
        if not (self._tells_places() and self._tells("fail_type", "fail_reason")):
            return None
        unsupported = private.read("torch._dynamo.exc.Unsupported")
        misused = private.read("torch._dynamo.exc.UserError")
        ended = any(attempt.fail_type for attempt in self._attempts())
        if ended and (unsupported is None or misused is None):
            return None  # which of them torch gave up is then not told
        reasons: dict[tuple[str, str], str] = {}
        eager: dict[tuple[str, str], list[str]] = {}
        for reason, stack, function in self._stops():
            key = self._place(stack), self._kind(reason)
            reasons.setdefault(key, reason)
            eager.setdefault(key, []).extend(function)
        places = Counter(place for place, _ in reasons)
        return [
            GraphBreak(place, kind, reason, tuple(dict.fromkeys(eager[place, kind])))
            for (place, kind), reason in reasons.items()
            if reason != COMPREHENSION or places[place] == 1  # it stands beside the break inside
        ]

    def compiled(self) -> int | None:
        """Return how many times a frame has been compiled, failed attempts included; None where
        torch does not tell.
        """
        return len(self._attempts()) if self._tells("co_name") else None

    def recompiles(self, since: int = 0) -> list[Recompile] | None:
        """Return the frames that were compiled again, without the first ``since`` compilations of
        any frame; None where torch does not tell.
        """
        if not self._tells("co_name", "compile_id"):
            return None
        attempts = self._attempts()
        # of an attempt that met torch's limit the name is that of the attempts before it
        names = {_number(attempt)[0]: attempt.frame for attempt in attempts if attempt.co_name}
        return [
            Recompile.of(names.get(_number(attempt)[0], "a frame"), attempt.recompile_reason or "")
            for attempt in attempts[since:]
            if int(_number(attempt)[1] or 0)
        ]

    def overlooked(self) -> str | None:
        """Return where the model's forward stands if torch has compiled only functions that it
        calls.

        None if forward was compiled or given up with a reason, or is no Python function; or where
        torch does not tell.
        """
        attempts = self._attempts()
        found = {(attempt.co_filename, attempt.co_firstlineno) for attempt in attempts}
        inlined = any(
            attempt.co_name == "inner" and _foreign(attempt.co_filename or "")
            for attempt in attempts
        )
        missed = self._codes and not inlined and found.isdisjoint(self._codes)
        return self._model if missed and self._tells_places() else None

    def _not_known(self) -> list[str]:
        """Return which questions this torch leaves open, in words."""
        open_ones = {
            "graphs": "graphs" not in self._counted(),
            "graph breaks": self.breaks() is None,
            "recompiles": self.recompiles() is None,
            "which functions were compiled": not self._tells_places(),
        }
        return [question for question, is_open in open_ones.items() if is_open]

    def _counted(self) -> dict[str, int]:
        """Return the counters by the names of their facts."""
        if self._counters is None:
            return {}
        found = {fact: int(self._counters[group][name]) for fact, (group, name) in COUNTERS.items()}
        # Of a graph with operators both are counted: the one that is 0 has another name in this
        # torch.
        if any(attempt.graph_op_count for attempt in self._attempts()):
            for fact in ("graphs", "captured_calls"):
                if not found[fact]:
                    del found[fact]
        return found

    def _tells(self, *names: str) -> bool:
        """Whether the metrics of every attempt have these fields."""
        return self._metrics is not None and all(
            hasattr(metrics, name) for metrics in self._kept() for name in names
        )

    def _tells_places(self) -> bool:
        """Whether torch tells which functions it has compiled."""
        return self._tells("co_name", "co_filename", "co_firstlineno")

    def _kept(self) -> list[Any]:
        """Return the metrics that torch has kept, of backwards as well; none where it keeps
        none.
        """
        return [] if self._metrics is None else self._metrics()

    def _stops(self) -> Iterator[tuple[str, list[tuple[str, int]], list[str]]]:
        """Yield torch's reason, the stack, and the function that runs in eager from here on, of
        every break.
        """
        for broken in self._reasons:
            if not broken.reason.startswith("DDPOptimizer"):  # that cuts graphs as it should
                yield broken.reason, [(at.filename, at.lineno or 0) for at in broken.user_stack], []
        for attempt in filter(_given_up, self._attempts()):
            start = attempt.co_filename or "", attempt.co_firstlineno or 0
            stop = (
                attempt.fail_user_frame_filename or start[0],
                attempt.fail_user_frame_lineno or start[1],
            )
            own = [] if _foreign(start[0]) else [attempt.frame]
            yield attempt.fail_reason or "", [start, stop], own

    def _attempts(self) -> list[Attempt]:
        """Return every attempt to compile a frame, without those of backwards."""
        found = map(Attempt.of, self._kept())
        return [attempt for attempt in found if attempt.co_name or attempt.recompile_reason]

    def _place(self, stack: list[tuple[str, int]]) -> str:
        """Return the innermost line of a stack that is not torch's or Python's; the model where all
        are.
        """
        return next(
            (_place(file, line) for file, line in reversed(stack) if not _foreign(file)),
            self._model,
        )

    def _kind(self, reason: str) -> str:
        """Return the first line of torch's reason, or words where torch has a label only."""
        if reason.startswith("generic_jump"):
            return "Data-dependent branching"
        # inside try, say; what was unsupported is in a counter, without its place
        if reason == "step_unsupported":
            unimplemented = (self._counters or {}).get("unimplemented", ())
            causes = dict.fromkeys(text.partition("\n")[0] for text in unimplemented)
            return f"the rest of the function runs in eager, from here torch cannot resume ({', '.join(causes)})"
        if reason == COMPREHENSION:
            return "a graph break in a comprehension"
        return reason.partition("\n")[0]


def _metrics_of_all() -> Callable[[], list[Any]] | None:
    """Have torch keep its metrics of everything that it compiles from here on, and return what
    reads them; None where it cannot.
    """
    clear = private.read("torch._dynamo.utils.clear_compilation_metrics")
    keep = private.read("torch._dynamo.utils.set_compilation_metrics_limit")
    metrics = private.read("torch._dynamo.utils.get_compilation_metrics")
    if clear is None or keep is None or metrics is None:
        return None
    clear()
    keep(1 << 16)  # torch keeps 64, too few to tell the first call from the others
    return metrics


def _codes(model: Any) -> Iterator[tuple[str, int]]:
    """Yield file and line of a module's __call__ and forward, as decorated and as written."""
    forward = getattr(model, "forward", None)
    if not hasattr(forward, "__code__"):
        return
    for function in (type(model).__call__, forward):
        while function is not None:
            if (code := getattr(function, "__code__", None)) is not None:
                yield code.co_filename, code.co_firstlineno
            function = getattr(function, "__wrapped__", None)


def _given_up(attempt: Attempt) -> bool:
    """Return whether torch met what it does not support, and ran the frame in eager. Other errors
    are raised.
    """
    kind = getattr(private.read("torch._dynamo.exc"), attempt.fail_type or "", None)
    unsupported = private.read("torch._dynamo.exc.Unsupported")
    misused = private.read("torch._dynamo.exc.UserError")
    return (
        attempt.co_name is not None
        and isinstance(kind, type)
        and issubclass(kind, (unsupported, misused))
    )


def _number(attempt: Attempt) -> tuple[str, str]:
    """Return the two parts of a compile id, "N/k": which frame, and how often it was compiled
    before.
    """
    which, _, again = str(attempt.compile_id or "").partition("/")
    return which, again


def _foreign(file: str) -> bool:
    """Return whether a file is torch's or Python's own."""
    return file.startswith((TORCH, "<frozen")) or (
        file.startswith(STDLIB) and "-packages" + os.sep not in file
    )


def _place(file: str, line: int) -> str:
    """Return file:line and the line itself."""
    source = linecache.getline(file, line).strip()
    return _short(file, line) + (f" `{source[:80]}`" if source else "")


def _frame(name: str, file: str, line: int) -> str:
    """Return a function with its place; the rest of one after a graph break has the name of the
    whole.
    """
    resumed = RESUMED.fullmatch(name)
    return f"{resumed[1] if resumed else name} ({_short(file, line)}{' on' if resumed else ''})"


def _short(file: str, line: int) -> str:
    """Return file:line, from the working directory or the folder of installed packages if it is in
    one.
    """
    installed = file.rpartition("-packages" + os.sep)[2]
    return f"{installed.removeprefix(os.getcwd() + os.sep)}:{line}"


class _Operators(TorchDispatchMode):
    """Notes every operator that runs, with the shapes and dtypes it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        leaves = result if isinstance(result, tuple | list) else [result]
        shapes = [(tuple(leaf.shape), str(leaf.dtype)) for leaf in leaves if torch.is_tensor(leaf)]
        self.digest.update(f"{func}{shapes}".encode())
        return result


def graph_hash(run: Callable[[], Any]) -> str | None:
    """A hash of the operators that one eager call runs: two cases with the same one are the same
    work.
    """
    try:
        with _Operators() as operators:
            run()
    except Exception:  # e.g. a higher-order operator that no mode can watch
        return None
    return operators.digest.hexdigest()[:12]
