"""Evidence of what torch.compile did: graphs, graph breaks, recompiles, skipped CUDA graphs, caches.

This is the only file that reads torch's counters of it (``torch._dynamo``, ``torch._inductor``).
Checked with torch 2.12, 2.13 and 2.14. If a release does not count something, that fact is left out.
"""

from __future__ import annotations

import linecache
import os
import re
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch

from paritygate.runtime import private
from paritygate.runtime.generated_code import GeneratedCode

TORCH = os.path.dirname(torch.__file__) + os.sep
STDLIB = sysconfig.get_path("stdlib") + os.sep
# dynamo's name for the rest of a function after a graph break
RESUMED = re.compile(r"torch_dynamo_resume_in_(.+)_at_\d+")
# torch's label for a break where Python inlines comprehensions, from 3.12 on
COMPREHENSION = "comprehension_graph_break"
# a frame of the user's stack in torch's text about a guard
STACKED = re.compile(r'File "(.+)", line (\d+), in \S+')
# fact -> torch's counter, by group and name; a counter without counts is 0
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
# the frame in torch's refusal to recompile
STANCE = re.compile(r"filename: '(.*)', function name: '(.*)', line number: (\d+)")


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
    """A frame that was compiled a second time, or would have been."""

    frame: str  # function and file:line
    guard: str  # the first guard that failed, "" where torch names none
    place: str  # file:line and the line that needs the guard, "" where torch does not name it
    reason: str  # torch's full reason

    @classmethod
    def from_reason(cls, frame: str, reason: str) -> Recompile:
        """Parse torch's reason: the guard, a comment, and a user stack trace in the lines below."""
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
    def from_stance(cls, message: str) -> Recompile:
        """Parse the error of the stance ``fail_on_recompile``."""
        where, _, guards = message.partition("guard failure(s):")
        named = STANCE.search(where)
        frame = _frame(named[2], named[1], int(named[3])) if named else "a frame"
        return cls.from_reason(
            frame, "\n".join(re.sub(r"^\s*- ", "", line) for line in guards.strip().splitlines())
        )

    def __str__(self) -> str:
        if not self.guard:
            return f"{self.frame} was not compiled before, or torch names no guard"
        return f"{self.frame}: guard `{self.guard}` failed{self.place and f', {self.place}'}"


@dataclass(frozen=True)
class Attempt:
    """An attempt to compile a frame, with fields named as in torch's CompilationMetrics.

    None: torch has no value, or this release has no such field (``CompileCounters._tells``).
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
    def from_metrics(cls, metrics: Any) -> Attempt:
        """Return the attempt that a metrics object of torch describes."""
        return cls(**{each.name: getattr(metrics, each.name, None) for each in fields(cls)})

    @property
    def frame(self) -> str:
        """The function with its place, or "a frame" if torch does not name it."""
        if not self.co_name:
            return "a frame"
        return _frame(self.co_name, self.co_filename or "?", self.co_firstlineno or 0)


class CompileCounters:
    """Counts the work of dynamo and inductor from its creation on. ``model``: the model that is
    compiled.

    Dynamo's own counter of graph breaks leaves out data-dependent branches and frames that are
    skipped as a whole. Breaks after which dynamo resumes are in ``graph_break_reasons``. Frames
    that it gave up, and all compilations, are in the metrics.
    """

    def __init__(self, model: Any = None) -> None:
        self._counters = private.read("torch._dynamo.utils.counters")
        self._reasons = private.read("torch._dynamo.utils.graph_break_reasons")
        self._metrics = _metrics_of_all()
        self._generated = GeneratedCode()
        for counted in (self._counters, self._reasons):
            if counted is not None:
                counted.clear()
        self._codes = list(_codes(model))
        self._model = next(
            (_place(*code) for code in reversed(self._codes) if not _foreign(code[0])),
            type(model).__name__,
        )

    def facts(self) -> dict[str, Any]:
        """Return graphs, graph breaks and skipped CUDA graphs with their reasons, cache hits and
        misses, fusions, a digest of the generated code.

        A fact that this torch does not report is left out. ``not_known`` names those of them that
        would show that eager answered.
        """
        facts: dict[str, Any] = self._counted()
        breaks = self.breaks()
        not_known = {
            "graphs": "graphs" not in facts,
            "graph breaks": breaks is None,
            "recompiles": self.recompiles() is None,
            "which functions were compiled": not self._tells_places(),
        }
        if any(not_known.values()):
            facts["not_known"] = [question for question, is_open in not_known.items() if is_open]
        if breaks is not None:
            facts["graph_breaks"] = len(breaks)
            facts["graph_break_reasons"] = dict.fromkeys(map(str, breaks), 1)
        if (generated := self._generated.digest()) is not None:
            facts["generated_code"] = generated
        if self._tells("cudagraph_skip_reason"):
            reasons = {metrics.cudagraph_skip_reason for metrics in self._kept()}
            facts["cudagraph_skip_reasons"] = sorted(filter(None, reasons))
        return facts

    def cold(self) -> bool:
        """Return whether anything had to be compiled that was not in the cache."""
        return bool(self._counted().get("cache_misses"))

    def breaks(self) -> list[GraphBreak] | None:
        """Return every graph break, or None if this torch does not report all of them. Breaks of
        one kind at one line, in a loop or in several graphs, count as one.
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
            return None  # then it is not known which of them torch gave up
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
            if reason != COMPREHENSION or places[place] == 1  # the break inside is listed, too
        ]

    def compiled(self) -> int | None:
        """Return how many times a frame has been compiled, failed attempts included; None if
        this torch does not report it.
        """
        return len(self._attempts()) if self._tells("co_name") else None

    def recompiles(self, since: int = 0) -> list[Recompile] | None:
        """Return the frames that were compiled again, without the first ``since`` compilations of
        any frame. None if this torch does not report them.
        """
        if not self._tells("co_name", "compile_id"):
            return None
        attempts = self._attempts()
        # an attempt that meets torch's limit has no name; it gets that of earlier attempts
        names = {_number(attempt)[0]: attempt.frame for attempt in attempts if attempt.co_name}
        return [
            Recompile.from_reason(
                names.get(_number(attempt)[0], "a frame"), attempt.recompile_reason or ""
            )
            for attempt in attempts[since:]
            if int(_number(attempt)[1] or 0)
        ]

    def overlooked(self) -> str | None:
        """Return the place of the model's forward if torch has compiled only functions that forward
        calls.

        None if forward was compiled or given up with a reason, or is no Python function; also if
        this torch does not report it.
        """
        attempts = self._attempts()
        compiled = {(attempt.co_filename, attempt.co_firstlineno) for attempt in attempts}
        inlined = any(
            attempt.co_name == "inner" and _foreign(attempt.co_filename or "")
            for attempt in attempts
        )
        missed = self._codes and not inlined and compiled.isdisjoint(self._codes)
        return self._model if missed and self._tells_places() else None

    def _counted(self) -> dict[str, int]:
        """Return the counters by the names of their facts."""
        if self._counters is None:
            return {}
        counts = {
            fact: int(self._counters[group][name]) for fact, (group, name) in COUNTERS.items()
        }
        # A graph with operators counts in both. One that is 0 has another name in this torch.
        if any(attempt.graph_op_count for attempt in self._attempts()):
            for fact in ("graphs", "captured_calls"):
                if not counts[fact]:
                    del counts[fact]
        return counts

    def _tells(self, *names: str) -> bool:
        """Return whether the metrics of every attempt have these fields."""
        return self._metrics is not None and all(
            hasattr(metrics, name) for metrics in self._kept() for name in names
        )

    def _tells_places(self) -> bool:
        """Return whether torch reports the functions that it has compiled."""
        return self._tells("co_name", "co_filename", "co_firstlineno")

    def _kept(self) -> list[Any]:
        """Return all metrics that torch has kept, with those of backward graphs. The list is empty if
        torch keeps none.
        """
        return [] if self._metrics is None else self._metrics()

    def _stops(self) -> Iterator[tuple[str, list[tuple[str, int]], list[str]]]:
        """Yield for every break torch's reason, the stack, and the function that runs in eager from
        there on.
        """
        for broken in self._reasons:
            if not broken.reason.startswith("DDPOptimizer"):  # it splits graphs on purpose
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
        """Return every attempt to compile a frame, without those of backward graphs."""
        attempts = map(Attempt.from_metrics, self._kept())
        return [attempt for attempt in attempts if attempt.co_name or attempt.recompile_reason]

    def _place(self, stack: list[tuple[str, int]]) -> str:
        """Return the innermost line of a stack that is not torch's or Python's; the model if there
        is none.
        """
        return next(
            (_place(file, line) for file, line in reversed(stack) if not _foreign(file)),
            self._model,
        )

    def _kind(self, reason: str) -> str:
        """Return the first line of torch's reason, or a description where torch has only a
        label.
        """
        if reason.startswith("generic_jump"):
            return "Data-dependent branching"
        # e.g. inside try; a counter holds what was unsupported, without its place
        if reason == "step_unsupported":
            unimplemented = (self._counters or {}).get("unimplemented", ())
            causes = dict.fromkeys(text.partition("\n")[0] for text in unimplemented)
            return f"the rest of the function runs in eager: torch cannot resume here ({', '.join(causes)})"
        if reason == COMPREHENSION:
            return "a graph break in a comprehension"
        return reason.partition("\n")[0]


def _metrics_of_all() -> Callable[[], list[Any]] | None:
    """Make torch keep its metrics of everything that it compiles from now on. Return the function
    that reads them, or None if this torch has none.
    """
    clear = private.read("torch._dynamo.utils.clear_compilation_metrics")
    keep = private.read("torch._dynamo.utils.set_compilation_metrics_limit")
    metrics = private.read("torch._dynamo.utils.get_compilation_metrics")
    if clear is None or keep is None or metrics is None:
        return None
    clear()
    keep(1 << 16)  # torch keeps 64, too few to separate the first call from the others
    return metrics


def _codes(model: Any) -> Iterator[tuple[str, int]]:
    """Yield file and line of a module's __call__ and forward, both as decorated and as written."""
    forward = getattr(model, "forward", None)
    if not hasattr(forward, "__code__"):
        return
    for function in (type(model).__call__, forward):
        while function is not None:
            if (code := getattr(function, "__code__", None)) is not None:
                yield code.co_filename, code.co_firstlineno
            function = getattr(function, "__wrapped__", None)


def _given_up(attempt: Attempt) -> bool:
    """Return whether torch met something that it does not support, and ran the frame in eager. It
    raises other errors.
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
    """Return the two parts of a compile id "N/k": the frame, and how often it was compiled
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
    """Return a function with its place. The rest of a function after a graph break has the
    function's name.
    """
    resumed = RESUMED.fullmatch(name)
    return f"{resumed[1] if resumed else name} ({_short(file, line)}{' on' if resumed else ''})"


def _short(file: str, line: int) -> str:
    """Return file:line, relative to the working directory or to the folder of installed packages
    where possible.
    """
    installed = file.rpartition("-packages" + os.sep)[2]
    return f"{installed.removeprefix(os.getcwd() + os.sep)}:{line}"
