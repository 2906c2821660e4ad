"""Deterministic facts of a model and its compilation: FLOPs, parameters, kernels, graphs. Compared
exactly.

The one file that reads torch's private counters (``torch._dynamo``, ``torch._inductor``); known for
torch 2.13.
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
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from paritygate.runtime import precision

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


class CompileCounters:
    """Count what dynamo and inductor do from here on; ``model``: what is compiled.

    Dynamo's own counter of graph breaks has no data-dependent branches and no frames that are
    skipped as a whole. All breaks it resumes from are in ``graph_break_reasons``; frames it gave
    up, and all compilations, in the metrics.
    """

    def __init__(self, model: Any = None) -> None:
        from torch._dynamo import utils

        self._counters, self._metrics, self._reasons = (
            utils.counters,
            utils.get_compilation_metrics,
            utils.graph_break_reasons,
        )
        utils.counters.clear()
        utils.graph_break_reasons.clear()
        utils.clear_compilation_metrics()
        # torch keeps 64, too few to tell the first call from the others
        utils.set_compilation_metrics_limit(1 << 16)
        self._codes = list(_codes(model))
        self._model = next(
            (_place(*code) for code in reversed(self._codes) if not _foreign(code[0])),
            type(model).__name__,
        )

    def facts(self) -> dict[str, Any]:
        """Graphs, graph breaks and skipped CUDA graphs with their reasons, cache hits and misses,
        fusions.
        """
        stats, inductor = self._counters["stats"], self._counters["inductor"]
        autograd = self._counters["aot_autograd"]
        breaks = self.breaks()
        return {
            "graphs": int(stats["unique_graphs"]),
            "graph_breaks": len(breaks),
            "graph_break_reasons": dict.fromkeys(map(str, breaks), 1),
            "captured_calls": int(stats["calls_captured"]),
            "fused_attention": int(inductor["fuse_attention"]),
            "cache_hits": int(inductor["fxgraph_cache_hit"]),
            "cache_misses": int(inductor["fxgraph_cache_miss"]),
            "cache_bypasses": int(inductor["fxgraph_cache_bypass"]),
            "autograd_cache_hits": int(autograd["autograd_cache_hit"]),
            "autograd_cache_misses": int(autograd["autograd_cache_miss"]),
            "cudagraph_skips": int(inductor["cudagraph_skips"]),
            "cudagraph_skip_reasons": sorted(
                {
                    metrics.cudagraph_skip_reason
                    for metrics in self._metrics()
                    if metrics.cudagraph_skip_reason
                }
            ),
        }

    def cold(self) -> bool:
        """Whether anything had to be compiled that a cache would have held."""
        facts = self.facts()
        return bool(facts["cache_misses"])

    def breaks(self) -> list[GraphBreak]:
        """Return every graph break; those of one kind at one line, in a loop or in several graphs,
        are one.
        """
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

    def compiled(self) -> int:
        """Return how many times a frame has been compiled, failed attempts included."""
        return len(self._frames())

    def recompiles(self, since: int = 0) -> list[Recompile]:
        """Return the frames that were compiled again, without the first ``since`` compilations of
        any frame.
        """
        frames = self._frames()
        # of an attempt that met torch's limit the name is that of the attempts before it
        names: dict[str, str] = {}
        for frame in frames:
            if frame.co_name:
                names[_number(frame)[0]] = _frame(
                    frame.co_name, frame.co_filename, frame.co_firstlineno
                )
        return [
            Recompile.of(names.get(_number(frame)[0], "a frame"), frame.recompile_reason or "")
            for frame in frames[since:]
            if int(_number(frame)[1] or 0)
        ]

    def overlooked(self) -> str | None:
        """Return where the model's forward stands if torch has compiled only functions that it
        calls.

        None if forward was compiled or given up with a reason, or is no Python function.
        """
        found = {(frame.co_filename, frame.co_firstlineno) for frame in self._frames()}
        inlined = any(
            frame.co_name == "inner" and _foreign(frame.co_filename) for frame in self._frames()
        )
        return (
            self._model if self._codes and not inlined and found.isdisjoint(self._codes) else None
        )

    def _stops(self) -> Iterator[tuple[str, list[tuple[str, int]], list[str]]]:
        """Yield torch's reason, the stack, and the function that runs in eager from here on, of
        every break.
        """
        for broken in self._reasons:
            if not broken.reason.startswith("DDPOptimizer"):  # that cuts graphs as it should
                yield broken.reason, [(at.filename, at.lineno or 0) for at in broken.user_stack], []
        for frame in filter(_given_up, self._frames()):
            start = frame.co_filename, frame.co_firstlineno
            stop = (
                frame.fail_user_frame_filename or start[0],
                frame.fail_user_frame_lineno or start[1],
            )
            own = [] if _foreign(start[0]) else [_frame(frame.co_name, *start)]
            yield frame.fail_reason, [start, stop], own

    def _frames(self) -> list[Any]:
        """Return torch's metrics of every attempt to compile a frame, without those of
        backwards.
        """
        return [
            metrics for metrics in self._metrics() if metrics.co_name or metrics.recompile_reason
        ]

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
            causes = dict.fromkeys(
                text.partition("\n")[0] for text in self._counters["unimplemented"]
            )
            return f"the rest of the function runs in eager, from here torch cannot resume ({', '.join(causes)})"
        if reason == COMPREHENSION:
            return "a graph break in a comprehension"
        return reason.partition("\n")[0]


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


def _given_up(frame: Any) -> bool:
    """Return whether torch met what it does not support, and ran the frame in eager. Other errors
    are raised.
    """
    from torch._dynamo import exc

    kind = getattr(exc, frame.fail_type or "", None)
    return (
        frame.co_name is not None
        and isinstance(kind, type)
        and issubclass(kind, exc.Unsupported | exc.UserError)
    )


def _number(frame: Any) -> tuple[str, str]:
    """Return the two parts of a compile id, "N/k": which frame, and how often it was compiled
    before.
    """
    which, _, again = str(frame.compile_id or "").partition("/")
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
