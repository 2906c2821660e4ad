"""Shards: runs of the jobs of a CI matrix, each with some of the cells, merged into one run."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from paritygate.core.record import Record, Run
from paritygate_reports.files.jsontext import FileError, dumps
from paritygate_reports.frame import MACHINE

NAMESPACE = uuid.UUID("c0a5a5f2-0c53-4b8f-8f0e-3f1f6f0d9d27")
ALIKE = ("commit", "branch", "dirty", "budget", "seed", "laboratory", "schema")
CELL = re.compile(r"\[([a-z0-9_]+(?:-[a-z0-9_]+){4})\]$", re.MULTILINE)


class Shard(NamedTuple):
    """A file and the run in it."""

    path: Path
    run: Run
    records: Sequence[Record]


def merged(shards: Sequence[Shard]) -> tuple[Run, list[Record]]:
    """Return one run with the cells of all shards. Its id is made from theirs, its start is the
    earliest.

    Facts of the environment in which they differ (load, duration) are kept under ``shards``, one
    entry for each. Raises ``FileError`` for shards of different code, conditions or machines, and
    for a cell with different records in two of them.
    """
    first = shards[0]
    records: dict[str, Shard] = {}
    merged_records: list[Record] = []
    for shard in shards:
        if "gate" in shard.run.environment:
            raise FileError(
                f"{shard.path} is a run of the gate, whose verdicts hold for it as a whole: "
                "import it without --as-one"
            )
        if facts := _differing(first.run, shard.run):
            raise FileError(
                f"{first.path} and {shard.path} are no shards of one run ({', '.join(facts)}): "
                "import them without --as-one, as runs of their own"
            )
        for record in shard.records:
            other = records.setdefault(record.cell, shard)
            if other is shard:
                merged_records.append(record)
            elif dumps(record.as_dict()) not in (
                dumps(r.as_dict()) for r in other.records if r.cell == record.cell
            ):
                raise FileError(
                    f"{other.path} and {shard.path} both hold {record.cell}, with different records: "
                    "leave one of them out"
                )
    ids = "\n".join(sorted({shard.run.id for shard in shards}))
    absent = {
        d: why
        for d, why in first.run.absent.items()
        if all(d in shard.run.absent for shard in shards)
    }
    return replace(
        first.run,
        id=str(uuid.uuid5(NAMESPACE, ids)),
        started=min(shard.run.started for shard in shards),
        environment=_environment([shard.run for shard in shards]),
        absent=absent,
    ), merged_records


def missing(paths: Sequence[Path], count: int) -> list[str]:
    """Return the shards that are missing of ``count``: their names if the files are numbered, else
    how many.
    """
    if len(paths) >= count:
        return []
    if numbered := _numbered(paths, count):
        return [path for path in numbered if Path(path) not in paths]
    there = ", ".join(str(path) for path in paths)
    return [
        f"{count - len(paths)} of {count} shards (the names do not show which); there are {there}"
    ]


def expected(path: Path) -> list[str]:
    """Return the cells that ``pytest bench --collect-only -q`` printed into a file. Raises
    ``FileError`` if there are none.
    """
    try:
        cells = list(dict.fromkeys(CELL.findall(path.read_text("utf-8", "replace"))))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error
    if not cells:
        raise FileError(
            f"{path} names no cell; write it by pytest bench --collect-only -q > {path}"
        )
    return cells


def _numbered(paths: Iterable[Path], count: int) -> list[str]:
    """Return all names of files that differ in one number, counted from 0 or 1; [] if these
    do not.
    """
    parts = [re.split(r"(\d+)", str(path)) for path in paths]
    if len({len(part) for part in parts}) != 1:
        return []
    varying = [place for place, texts in enumerate(zip(*parts, strict=True)) if len(set(texts)) > 1]
    if len(varying) != 1 or varying[0] % 2 == 0:  # the numbers are at odd places
        return []
    (place,) = varying
    numbers = {int(part[place]) for part in parts}
    start = 0 if 0 in numbers else 1
    width = len(parts[0][place]) if parts[0][place].startswith("0") else 0  # 01, 02
    names = [
        "".join([*parts[0][:place], f"{n:0{width}}", *parts[0][place + 1 :]])
        for n in range(start, start + count)
    ]
    return names if numbers <= set(range(start, start + count)) else []


def _differing(one: Run, other: Run) -> list[str]:
    """Return the facts in which two runs differ although they must not: "threads 2 and 4"."""
    facts = [
        {name: getattr(run, name) for name in ALIKE}
        | {name: run.environment.get(name) for name in MACHINE}
        for run in (one, other)
    ]
    return [
        f"{name} {value} and {facts[1][name]}"
        for name, value in facts[0].items()
        if value != facts[1][name]
    ]


def _environment(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the facts that all runs share, and under ``shards`` the other facts of each."""
    first = runs[0].environment
    common = {
        n: value
        for n, value in first.items()
        if all(n in r.environment and r.environment[n] == value for r in runs)
    }
    beyond = [{n: value for n, value in run.environment.items() if n not in common} for run in runs]
    shards = [
        {"id": run.id, "started": run.started, **more}
        for run, more in zip(runs, beyond, strict=True)
    ]
    return common | {"shards": shards}
