"""The sections around the table, as values: failures first, then warnings, known failures, skips,
and the summary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from paritygate.core import reasons
from paritygate.core.exitstatus import DECIDED
from paritygate.core.reasons import counted
from paritygate.core.record import RED, Record, Run, Status, Verdict
from paritygate.parity.accuracy import wilson
from paritygate.timing import roofline
from paritygate_reports.view import gate_lines, text
from paritygate_reports.view.table import is_failure, is_known_failure

SHOWN_FACTS = ("fused_attention",)  # a backend rewrote the model: no failure, but worth knowing


@dataclass(frozen=True)
class Item:
    """One point: a line, and more about it below."""

    lead: str
    body: str = ""


@dataclass(frozen=True)
class Section:
    """A title with its points. ``bad`` sections come first, and are shown even in a quiet run."""

    title: str
    items: tuple[Item, ...]
    bad: bool = False


def sections(run: Run, records: Sequence[Record]) -> list[Section]:
    """Return the sections that are not empty, worst first."""
    verdicts = gate_lines.compared(records)
    every = (
        *_comparison(run, verdicts),
        Section("failures", tuple(_failures(records)), bad=True),
        Section(
            "fixed, remove from known_failures",
            tuple(_known_failures(records, fixed=True)),
            bad=True,
        ),
        Section("unchecked (never a pass)", tuple(_by_reason(records, Status.UNCHECKED)), bad=True),
        Section("warnings", tuple(_warnings(records))),
        Section("known failures", tuple(_known_failures(records, fixed=False))),
        Section("skipped", tuple(_by_reason(records, Status.SKIPPED))),
        Section("absent", tuple(Item(f"{device}: {why}") for device, why in run.absent.items())),
        Section(
            "accuracy (95 % interval), and how many answers are eager's", tuple(_accuracy(records))
        ),
        Section(
            "weights that the check would notice if they were wrong by 1e-3",
            tuple(_mutations(records)),
        ),
        Section("a training step: forward, backward, optimizer", tuple(_steps(records))),
        Section("the share of a training that waits for data", tuple(_waits(records))),
        Section(
            "scaling efficiency: 100 % is one process with as many threads, or on each GPU",
            tuple(_scaling(records)),
        ),
        Section("achieved, and its share of the roofline", tuple(_achieved(records))),
        Section("rewritten by the backend", tuple(_facts(records))),
        Section("notes", tuple(Item(note) for note in _footnotes(records))),
    )
    return [section for section in every if section.items]


def _comparison(run: Run, verdicts: Sequence[Record]) -> list[Section]:
    """Return the gate's verdicts, and the remarks on its run."""
    red = any(record.verdict in RED for record in verdicts)
    items = tuple(Item(gate_lines.line(record), gate_lines.body(record)) for record in verdicts)
    remarks = gate_lines.remarks(run)
    shown = [Section(gate_lines.title(run, verdicts), items, bad=red)] if items else []
    shown += [
        Section("the gate's run", tuple(Item(what) for what, bad in remarks if bad), bad=True)
    ]
    families = tuple(Item(line) for line in gate_lines.families(verdicts))
    shown += [Section("families (mean over their cells, advisory)", families)]
    return [
        *shown,
        Section("remarks on the gate's run", tuple(Item(what) for what, bad in remarks if not bad)),
    ]


def headline(run: Run) -> str:
    """Return a line that identifies the run: code, conditions, start."""
    code = f"{run.branch or 'detached'}@{run.commit[:10]}" if run.commit else "no commit"
    dirty = " (with uncommitted changes)" if run.dirty else ""
    conditions = "laboratory" if run.laboratory else "laboratory off"
    return (
        f"run {run.id[:8]}, {code}{dirty}, budget {run.budget}, {conditions}, started {run.started}"
    )


def summary(run: Run, records: Sequence[Record]) -> str:
    """Return how many cells ended how, and the time of the run
    (``run.environment["total_seconds"]``) where known.
    """
    identical = sum(record.identical for record in records)
    ok = [record for record in records if record.status is Status.OK and not record.identical]
    graphs = {
        (record.facts["graph_hash"], record.device, record.backend, record.dtype)
        for record in ok
        if record.facts.get("graph_hash")
    }
    distinct = f" ({len(graphs)} distinct graphs x targets)" if graphs else ""
    parts = [f"{counted(len(ok), 'cell')} ok{distinct}"] if ok or not identical else []
    parts += [f"{counted(identical, 'cell')} identical on both sides"] if identical else []
    for status in Status:
        count = sum(record.status is status and not is_known_failure(record) for record in records)
        if count and status is not Status.OK:
            parts.append(f"{count} {status}")
    expected = sum(map(is_known_failure, records))
    parts += [counted(expected, "known failure")] if expected else []
    total = run.environment.get("total_seconds")
    return ", ".join(parts) + (
        f" in {text.duration(total)}" if isinstance(total, int | float) else ""
    )


def conclusion(run: Run, records: Sequence[Record]) -> str:
    """Return the run in a word: "ok", "not ok", or "undecided" if the gate decided nothing.

    A run whose status was not 0 is never ok, whatever its records are. With some cells undecided,
    "ok" says how many.
    """
    if any(is_failure(record) or record.verdict in RED for record in records):
        return "not ok"
    gate = run.environment.get("gate", {})
    if gate.get("invalid") or gate.get("missing"):
        return "not ok"
    judged = [record for record in records if record.verdict]
    still = [record for record in judged if record.verdict == Verdict.INCONCLUSIVE]
    if still and not any(record.verdict in DECIDED for record in judged):
        return "undecided"
    if run.environment.get("exit_status") or not any(r.status is Status.OK for r in records):
        return "not ok"
    return f"ok, {len(still)} of {counted(len(judged), 'cell')} undecided" if still else "ok"


def passed(run: Run, records: Sequence[Record]) -> bool:
    """Return whether the run is ok."""
    return conclusion(run, records).startswith("ok")


def _failures(records: Iterable[Record]) -> list[Item]:
    """Return a point for each mistake, with the names of all cells of its case that share it."""
    alike: dict[tuple[str, str, str], list[Record]] = {}
    for record in filter(is_failure, records):
        mistake = reasons.mistake(record.reason, record.trace)
        alike.setdefault((record.case, record.status, mistake), []).append(record)
    items = []
    for (_, status, _), failed in alike.items():
        first, *others = [record.cell for record in failed]
        also = f" and {counted(len(others), 'more cell')}" if others else ""
        body = reasons.whole(failed[0].reason) or "no reason was given"
        same = f"\nalso {', '.join(others)}" if others else ""
        items.append(Item(f"{status}  {first}{also}", body + same))
    return items


def _known_failures(records: Iterable[Record], fixed: bool) -> list[Item]:
    return [
        Item(f"{record.cell}: {record.fixed if fixed else record.known_failure}")
        for record in records
        if (record.fixed if fixed else record.known_failure and not record.fixed)
    ]


def _by_reason(records: Iterable[Record], status: Status) -> list[Item]:
    """Return a point for each reason: its first line, and the other lines below."""
    ended = [record for record in records if record.status is status]
    items = []
    for reason, cells in _grouped(
        ended, lambda record: [record.reason or "no reason was given"]
    ).items():
        first, rest = reasons.split(reason)
        items.append(
            Item(
                f"{cells[0] if len(cells) == 1 else counted(len(cells), 'cell')}: {first}",
                rest,
            )
        )
    return items


def _warnings(records: Iterable[Record]) -> list[Item]:
    """Return each warning once, with its cells. Texts that differ only in numbers count as the
    same.
    """
    texts: dict[str, dict[str, None]] = {}  # masked text -> the texts, each once

    def masked(record: Record) -> list[str]:
        by_mask = {re.sub(r"\d[\d.,]*", "#", warning): warning for warning in record.warnings}
        for mask, warning in by_mask.items():
            texts.setdefault(mask, {})[warning] = None
        return list(by_mask)

    items = []
    for mask, cells in _grouped(records, masked).items():
        first, *others = texts[mask]
        items.append(
            Item(f"{first} (numbers of the first cell)" if others else first, text.names(cells))
        )
    return items


def _accuracy(records: Iterable[Record]) -> list[Item]:
    items = []
    for record in records:
        if record.accuracy is None:
            continue
        line = f"{record.cell}: {text.fine_percent(record.accuracy)}"
        if record.accuracy_samples:
            low, high = wilson(record.accuracy, record.accuracy_samples)
            line += f" ({low * 100:.1f}-{high * 100:.1f} %, n {record.accuracy_samples:,})"
        if (difference := record.facts.get("accuracy_difference")) and record.backend != "eager":
            off, low, high = (100 * share for share in difference)
            line += f", {off:+.1f} points of eager's ({low:+.1f} to {high:+.1f})"
        if record.top1_agreement is not None:
            line += f", {text.fine_percent(record.top1_agreement)}"
        items.append(Item(line))
    return items


def _mutations(records: Iterable[Record]) -> list[Item]:
    """Return a line for each group that was measured, with the names of weights in which errors are
    not noticed.
    """
    items: dict[str, Item] = {}
    for record in records:
        if (mutation := record.facts.get("mutation")) and mutation["weights"]:
            unnoticed = ", ".join(mutation["unnoticed"])
            items.setdefault(
                f"{record.case} {record.shape}",
                Item(
                    f"{record.case}  {record.shape}: {mutation['noticed']:.1%} of {mutation['weights']}",
                    f"unnoticed: {unnoticed}" if unnoticed else "",
                ),
            )
    return list(items.values())


def _steps(records: Iterable[Record]) -> list[Item]:
    items = []
    for record in records:
        if parts := record.facts.get("step_seconds"):
            unit = text.second_unit(parts.values())
            items.append(
                Item(
                    f"{record.cell}: {', '.join(text.seconds(value, unit) for value in parts.values())}"
                )
            )
    return items


def _waits(records: Iterable[Record]) -> list[Item]:
    return [
        Item(f"{record.cell}: {text.percent(share)}")
        for record in records
        if (share := record.facts.get("data_wait_share")) is not None
    ]


def _scaling(records: Iterable[Record]) -> list[Item]:
    """Return the throughput of several ranks over that of one process, for each GPU. On a CPU the
    ranks share the threads of one process.
    """
    items = []
    for record in records:
        if (ranks := record.facts.get("ranks")) and record.speedup is not None:
            shares = [record.speedup, record.speedup_low, record.speedup_high]
            gpus = ranks if record.device == "cuda" else 1
            each, *interval = [text.percent(share / gpus) for share in shares if share is not None]
            between = f" ({' to '.join(interval)})" if interval else ""
            items.append(Item(f"{record.cell}: {each}{between}, {counted(ranks, 'rank')}"))
    return items


def _achieved(records: Sequence[Record]) -> list[Item]:
    """Return FLOP/s and bytes/s of every cell, in runs that have measured the attainable speed."""
    attainable = roofline.roofs(records)
    return [
        Item(f"{one.cell}: {_reached(one)}")
        for one in roofline.achieved(records)
        if attainable.flops or attainable.bytes
    ]


def _reached(one: roofline.Achieved) -> str:
    parts = [f"{text.digits(one.flops / 1e12)} TFLOP/s"] if one.flops else []
    parts += [f"{text.digits(one.bytes / 1e9)} GB/s"] if one.bytes else []
    parts += [f"{text.percent(one.share)}, limited by {one.limit}"] if one.share is not None else []
    return ", ".join(parts)


def _facts(records: Iterable[Record]) -> list[Item]:
    def shown(record: Record) -> list[str]:
        return [f"{fact} {record.facts[fact]}" for fact in SHOWN_FACTS if record.facts.get(fact)]

    return [Item(fact, text.names(cells)) for fact, cells in _grouped(records, shown).items()]


def _footnotes(records: Sequence[Record]) -> list[str]:
    ok = [record for record in records if record.status is Status.OK]
    notes = []
    if any(r.speedup is not None and r.speedup_low is None and r.backend != "eager" for r in ok):
        notes.append("~ one launch, no interval")
    if any(record.measured for record in ok):
        notes.append(
            "error: distance from the reference answer; of max: its share of what is allowed"
        )
        notes.append(
            "prepare: seconds to the first answer, caches warm"
            + ("/cold" if any(record.prepare_cold_seconds is not None for record in ok) else "")
        )
    return notes


def _grouped(
    records: Iterable[Record], keys: Callable[[Record], list[str]]
) -> dict[str, list[str]]:
    """Return key -> the cells that have it, in order of appearance."""
    cells: dict[str, list[str]] = {}
    for record in records:
        for key in keys(record):
            cells.setdefault(key, []).append(record.cell)
    return cells
