"""Files of pytest-benchmark (``--benchmark-json``, autosave) as runs.

A benchmark of one of our cells has the cell's id in its extra_info. It becomes that cell's record
again, with the parity numbers and facts in the file. Any other benchmark becomes a cell
``FUNCTION_DIGEST-PARAMETERS-cpu-python-none``. The digest is that of file, class and function, so
that two functions of one name stay different. ``foreign`` stands for no parameters, ``none`` for
the unknown dtype. Everything else in the file is stored in the record's facts and in the run's
environment. The id of the run is made from the file's content: reading the same file again gives
the same run.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paritygate.core.record import Record, Run, Status
from paritygate.timing.schedule import KEPT_SAMPLES, quantile
from paritygate_reports.files.jsontext import FileError, dumps
from paritygate_reports.store.fields import RECORD_SCALARS, misfits

NAMESPACE = uuid.UUID("7f1b0b9e-5d0c-4b8e-9a55-0d6f0c8f3a11")
CELL = re.compile(r"[a-z0-9_]+(?:-[a-z0-9_]+){4}")
NO_COMMIT = ("unversioned", "unknown")  # its words for an unknown commit
NO_BRANCH = ("(unknown)", "(detached head)")


def wrote(content: Any) -> bool:
    """Return whether the content of a JSON file comes from pytest-benchmark."""
    return isinstance(content, dict) and "benchmarks" in content and "paritygate" not in content


def run_of(path: Path, content: Mapping[str, Any]) -> tuple[Run, list[Record]]:
    """Return the run and a record for each benchmark of a file. Raises ``FileError`` if there is
    none.
    """
    try:
        run = _run(content)
        records = [_record(benchmark) for benchmark in content["benchmarks"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(
            f"{path} is not what pytest-benchmark 4 or 5 writes ({error!r}); "
            "write it again by --benchmark-json"
        ) from error
    if not records:
        raise FileError(
            f"{path} holds no benchmark; leave it out, or write it again by --benchmark-json"
        )
    cells: dict[str, Record] = {}
    for record in records:
        if cells.setdefault(record.cell, record) is not record:
            names = [
                each.facts["pytest_benchmark"]["fullname"] for each in (cells[record.cell], record)
            ]
            raise FileError(
                f"{path} has two benchmarks of the cell {record.cell}, {' and '.join(names)}: "
                "which of them counts? Write it again with one of them"
            )
    return run, records


def foreign(name: str, fullname: str) -> str:
    """Return the id of the cell for a foreign benchmark. The names look like ``f[x]`` and
    ``tests/a.py::f[x]``.
    """
    function, _, given = name.partition("[")
    given = given.removesuffix("]")
    case = f"{_slug(function)}_{_digest(fullname.removesuffix(f'[{given}]'))}"
    plain = not given or re.fullmatch(r"[a-z0-9_]{1,40}", given)
    shape = (given or "foreign") if plain else f"{_slug(given)}_{_digest(given)}"
    return f"{case}-{shape}-cpu-python-none"


def _run(content: Mapping[str, Any]) -> Run:
    machine, code = content["machine_info"], content["commit_info"]
    cpu = machine.get("cpu") or {}
    facts = {
        "cpu": cpu.get("brand_raw") or cpu.get("brand") or machine.get("processor"),
        "machine": machine.get("machine"),
        "cores": cpu.get("count"),
        "system": machine.get("system"),
        "kernel": machine.get("release"),
        "python": machine.get("python_version"),
        "version_pytest_benchmark": content.get("version"),
        "pytest_benchmark": {"machine_info": machine, "commit_info": code},
    }
    commit = None if code.get("id") in NO_COMMIT else code.get("id")
    started = datetime.fromisoformat(content["datetime"])
    started = started.astimezone(UTC) if started.tzinfo else started.replace(tzinfo=UTC)
    return Run(
        id=str(uuid.uuid5(NAMESPACE, dumps(content))),
        started=started.isoformat(timespec="seconds"),
        budget="foreign",
        laboratory=False,
        seed=0,
        commit=commit,
        branch=None if code.get("branch") in NO_BRANCH else code.get("branch"),
        dirty=bool(code["dirty"]) if commit and "dirty" in code else None,
        environment={name: value for name, value in facts.items() if value},
    )


def _record(benchmark: Mapping[str, Any]) -> Record:
    stats, extra = dict(benchmark["stats"]), benchmark.get("extra_info") or {}
    times = [float(seconds) for seconds in stats.pop("data", None) or ()]
    original = {name: value for name, value in benchmark.items() if name != "stats"} | {
        "stats": stats
    }
    cell = str(extra.get("cell", ""))
    ours = bool(CELL.fullmatch(cell))
    cell = cell if ours else foreign(benchmark["name"], benchmark["fullname"])
    status = Status(extra.get("status", "ok")) if ours else Status.OK
    facts = (dict(extra.get("facts") or {}) if ours else {}) | {"pytest_benchmark": original}
    row: dict[str, Any] = dict(
        zip(("case", "shape", "device", "backend", "dtype"), cell.split("-"), strict=True)
    )
    row |= {"cell": cell, "status": status, "facts": facts}
    if median := float(stats["median"]):  # 0: a cell of ours that was checked and not timed
        row |= {"latency_p50": median, "throughput": 1 / median, "unit": "call", "launches": 1}
        row |= {"calls_per_sample": int(stats["iterations"]), "samples_seen": int(stats["rounds"])}
        step = max(1.0, len(times) / KEPT_SAMPLES)
        row["samples"] = [times[int(n * step)] for n in range(min(len(times), KEPT_SAMPLES))]
        if times:
            row |= {"latency_p90": quantile(times, 0.9), "latency_p99": quantile(times, 0.99)}
    if ours:
        given = extra.keys() - {"cell", "status"}
        row |= {name: extra[name] for name in RECORD_SCALARS if name in given}
    record = Record(**row)
    if wrong := misfits(record):
        raise ValueError(f"{record.cell} has {', '.join(wrong)}")
    return record


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "_", text.lower())[:40]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:6]
