"""What stands around the table, as values: failures first, then warnings, skips, gaps, the
summary.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from paritygate.core import reasons
from paritygate.core.record import RED, Record, Run, Status
from paritygate.parity.accuracy import wilson
from paritygate.timing import roofline
from paritygate_reports.view import gate_lines, text
from paritygate_reports.view.table import expected_gap, is_failure

SHOWN_FACTS = ("fused_attention",)  # a backend did something else: no failure, but worth knowing


@dataclass(frozen=True)
class Item:
    """One point: a line that says it, and more about it underneath."""

    lead: str
    body: str = ""


@dataclass(frozen=True)
class Section:
    """A title with its points; ``bad`` ones come first and are shown however quiet the run is."""

    title: str
    items: tuple[Item, ...]
    bad: bool = False


def sections(run: Run, records: Sequence[Record]) -> list[Section]:
    """The sections that have anything to say, worst first."""
    verdicts = gate_lines.compared(records)
    found = (
        *_comparison(run, verdicts),
        Section("failures", tuple(_failures(records)), bad=True),
        Section("gap closed, remove it", tuple(_gaps(records, closed=True)), bad=True),
        Section("unchecked (never a pass)", tuple(_by_reason(records, Status.UNCHECKED)), bad=True),
        Section("warnings", tuple(_warnings(records))),
        Section("known gaps", tuple(_gaps(records, closed=False))),
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
    return [section for section in found if section.items]


def _comparison(run: Run, verdicts: Sequence[Record]) -> list[Section]:
    """The gate's verdicts, and what is to be said of its run."""
    red = any(record.verdict in RED for record in verdicts)
    items = tuple(Item(gate_lines.line(record), gate_lines.body(record)) for record in verdicts)
    remarks = gate_lines.remarks(run)
    found = [Section(gate_lines.title(run, verdicts), items, bad=red)] if items else []
    found += [
        Section("the gate's run", tuple(Item(what) for what, bad in remarks if bad), bad=True)
    ]
    families = tuple(Item(line) for line in gate_lines.families(verdicts))
    found += [Section("families (mean over their cells, advisory)", families)]
    return [
        *found,
        Section("remarks on the gate's run", tuple(Item(what) for what, bad in remarks if not bad)),
    ]


def headline(run: Run) -> str:
    """Which run this is: code, conditions, start."""
    code = f"{run.branch or 'detached'}@{run.commit[:10]}" if run.commit else "no commit"
    dirty = " (with uncommitted changes)" if run.dirty else ""
    conditions = "laboratory" if run.laboratory else "laboratory off"
    return (
        f"run {run.id[:8]}, {code}{dirty}, budget {run.budget}, {conditions}, started {run.started}"
    )


def summary(run: Run, records: Sequence[Record]) -> str:
    """How many cells ended how; ``run.environment["total_seconds"]``, where known, is the time of
    it all.
    """
    ok = [record for record in records if record.status is Status.OK]
    graphs = {
        (record.facts["graph_hash"], record.device, record.backend, record.dtype)
        for record in ok
        if record.facts.get("graph_hash")
    }
    distinct = f" ({len(graphs)} distinct graphs x targets)" if graphs else ""
    parts = [f"{text.counted(len(ok), 'cell')} ok{distinct}"]
    for status in Status:
        count = sum(record.status is status and not expected_gap(record) for record in records)
        if count and status is not Status.OK:
            parts.append(f"{count} {status}")
    gaps = sum(map(expected_gap, records))
    parts += [text.counted(gaps, "known gap")] if gaps else []
    total = run.environment.get("total_seconds")
    return ", ".join(parts) + (
        f" in {text.duration(total)}" if isinstance(total, int | float) else ""
    )


def passed(records: Iterable[Record]) -> bool:
    """Whether no record is a failure, none has regressed, and at least one is ok."""
    records = list(records)
    good = not any(is_failure(record) or record.verdict in RED for record in records)
    return good and any(record.status is Status.OK for record in records)


def _failures(records: Iterable[Record]) -> list[Item]:
    """A point a mistake: what cells of one case share is told once, with their names."""
    alike: dict[tuple[str, str, str], list[Record]] = {}
    for record in filter(is_failure, records):
        mistake = reasons.mistake(record.reason, record.facts.get("trace", ""))
        alike.setdefault((record.case, record.status, mistake), []).append(record)
    items = []
    for (_, status, _), failed in alike.items():
        first, *others = [record.cell for record in failed]
        also = f" and {text.counted(len(others), 'more cell')}" if others else ""
        body = reasons.whole(failed[0].reason) or "no reason was given"
        same = f"\nalso {', '.join(others)}" if others else ""
        items.append(Item(f"{status}  {first}{also}", body + same))
    return items


def _gaps(records: Iterable[Record], closed: bool) -> list[Item]:
    return [
        Item(f"{record.cell}: {record.fixed if closed else record.known_failure}")
        for record in records
        if (record.fixed if closed else record.known_failure and not record.fixed)
    ]


def _by_reason(records: Iterable[Record], status: Status) -> list[Item]:
    """A point a reason: its first line, and below it the others."""
    ended = [record for record in records if record.status is status]
    items = []
    for reason, cells in _grouped(
        ended, lambda record: [record.reason or "no reason was given"]
    ).items():
        first, rest = reasons.split(reason)
        items.append(
            Item(
                f"{cells[0] if len(cells) == 1 else text.counted(len(cells), 'cell')}: {first}",
                rest,
            )
        )
    return items


def _warnings(records: Iterable[Record]) -> list[Item]:
    """The same advice once, with the cells it is for; texts that differ in numbers only are the
    same.
    """
    texts: dict[str, dict[str, None]] = {}  # masked text -> the texts, each once

    def masked(record: Record) -> list[str]:
        found = {re.sub(r"\d[\d.,]*", "#", warning): warning for warning in record.warnings}
        for mask, warning in found.items():
            texts.setdefault(mask, {})[warning] = None
        return list(found)

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
    """A line for each group that was measured, with the names of what goes unnoticed."""
    found: dict[str, Item] = {}
    for record in records:
        if (mutation := record.facts.get("mutation")) and mutation["weights"]:
            unnoticed = ", ".join(mutation["unnoticed"])
            found.setdefault(
                f"{record.case} {record.shape}",
                Item(
                    f"{record.case}  {record.shape}: {mutation['noticed']:.1%} of {mutation['weights']}",
                    f"unnoticed: {unnoticed}" if unnoticed else "",
                ),
            )
    return list(found.values())


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
    """Throughput of ranks over that of one process, for each GPU; ranks on a CPU share the threads
    of one process.
    """
    items = []
    for record in records:
        if (ranks := record.facts.get("ranks")) and record.speedup is not None:
            shares = [record.speedup, record.speedup_low, record.speedup_high]
            gpus = ranks if record.device == "cuda" else 1
            each, *interval = [text.percent(share / gpus) for share in shares if share is not None]
            between = f" ({' to '.join(interval)})" if interval else ""
            items.append(Item(f"{record.cell}: {each}{between}, {text.counted(ranks, 'rank')}"))
    return items


def _achieved(records: Sequence[Record]) -> list[Item]:
    """FLOP/s and bytes/s of every cell, in runs that have measured what is attainable."""
    found = roofline.roofs(records)
    return [
        Item(f"{one.cell}: {_reached(one)}")
        for one in roofline.achieved(records)
        if found.flops or found.bytes
    ]


def _reached(one: roofline.Achieved) -> str:
    parts = [f"{text.digits(one.flops / 1e12)} TFLOP/s"] if one.flops else []
    parts += [f"{text.digits(one.bytes / 1e9)} GB/s"] if one.bytes else []
    parts += [f"{text.percent(one.share)}, limited by {one.limit}"] if one.share is not None else []
    return ", ".join(parts)


def _facts(records: Iterable[Record]) -> list[Item]:
    def told(record: Record) -> list[str]:
        return [f"{fact} {record.facts[fact]}" for fact in SHOWN_FACTS if record.facts.get(fact)]

    return [Item(fact, text.names(cells)) for fact, cells in _grouped(records, told).items()]


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
    """Key -> the cells that have it, in order of appearance."""
    found: dict[str, list[str]] = {}
    for record in records:
        for key in keys(record):
            found.setdefault(key, []).append(record.cell)
    return found
