"""The A/A protocol: run the gate many times with the same code on both sides, and report the
figures.

``paritygate aa --runs 20 --resume FILE`` appends each run to FILE, a CSV with one row for each
cell. At the end it prints the figures: false reds with their Clopper-Pearson bound, coverage,
undecided cells, spread and cost. With ``--plant`` each run makes two cells slower on purpose by
each of these sizes, and the power is reported too.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from paritygate.core.record import RED, Verdict
from paritygate.gate.session import code_digest

# CNN, BERT tiny and mini, naive and SDPA attention; eager, compile, onnxruntime.
CELLS = "(cnn_digits-b32 or bert_tiny-b8 or bert_mini-b8 or attn_naive-b or attn_sdpa-b) and not trained"
PLANTED_CELLS = 2  # of each size, in every run
CALM = 0.015  # sd of launch pairs up to which a cell must be decided
SURE = 0.01  # sd of launch pairs up to which a slowdown of size `caught` must be found
PARSERS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": "True".__eq__,
}


@dataclass(frozen=True)
class Row:
    """One cell in one run. Effects are shares, times are seconds.

    ``planted``: the share by which head was made slower on purpose.
    """

    run: int
    cell: str
    planted: float
    verdict: str
    effect: float
    low: float
    high: float
    sd: float
    launches: int
    detectable: float
    invalid: bool
    # seconds that the gate spent on this cell, with its share of imports and references
    cost: float
    seconds: float  # of the whole run, with collection and parity
    code: str


def read(path: Path) -> list[Row]:
    """Return the rows of a file. Return none if the file does not exist."""
    if not path.exists():
        return []
    parsers: list[Callable[[str], Any]] = [PARSERS[str(field.type)] for field in fields(Row)]
    with path.open(newline="") as file:
        rows = csv.reader(line for line in file if not line.startswith(("#", "run,")))
        return [
            Row(*(parse(text) for parse, text in zip(parsers, row, strict=True))) for row in rows
        ]


def run(
    path: Path, runs: int, sizes: list[float], select: str, say: Callable[[str], object]
) -> int:
    """Make the runs that the file lacks, then report. Return the exit status: 1 if there was a
    false red.
    """
    rows = read(path)
    if stale := {row.code for row in rows} - {code_digest()}:
        say(
            f"{path} was made with other code of the gate ({', '.join(sorted(stale))}); it is stale, give another file"
        )
        return 2
    cells, problem = _cells(select)
    if not cells and select == CELLS:  # another project's
        select = ""
        cells, problem = _cells(select)
    if not cells:
        say(f"no cell to measure: {problem}")
        return 2
    if len(cells) < PLANTED_CELLS * len(sizes):
        say(
            f"too few cells: {len(cells)} selected, {PLANTED_CELLS * len(sizes)} to be made slower; "
            "select more with -k, or plant fewer sizes"
        )
        return 2
    for number in sorted(set(range(runs)) - {row.run for row in rows}):
        rng = random.Random(number)
        planted = dict(
            zip(rng.sample(cells, PLANTED_CELLS * len(sizes)), sizes * PLANTED_CELLS, strict=True)
        )
        rows += _gate(number, select, planted)
        _write(path, rows, runs, sizes)
        say(
            f"run {number + 1} of {runs} done: {summary([row for row in rows if row.run == number])}"
        )
    say(report(rows))
    return int(any(row.verdict in RED and not row.planted for row in rows))


def _cells(select: str) -> tuple[list[str], str]:
    """Return (the cells that pytest collects here, the end of what it said)."""
    command = [sys.executable, "-m", "pytest", "-k", select, "--collect-only", "-q"]
    done = subprocess.run(
        [*command, "--bench-against", "HEAD"], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    found = [line.partition("[")[2].rstrip("]") for line in lines if "::test_regression[" in line]
    said = (done.stdout.strip() + "\n" + done.stderr.strip()).strip()
    return (
        found,
        f"pytest{f' -k {select!r}' if select else ''} in {Path.cwd()} said:\n{said[-500:]}",
    )


def _gate(number: int, select: str, planted: dict[str, float]) -> list[Row]:
    """Run the gate once, in a pytest of its own."""
    started = time.monotonic()
    found = against_head(
        [
            "-k",
            select,
            *(
                part
                for cell, size in planted.items()
                for part in ("--bench-plant", f"{cell}={size}")
            ),
        ]
    )
    seconds = time.monotonic() - started
    gate = found["run"]["environment"].get(
        "gate", {"invalid": [], "code": code_digest(), "cost": {}}
    )
    return [
        Row(
            number,
            r["cell"],
            planted.get(r["cell"], 0.0),
            r["verdict"],
            r["effect"],
            r["effect_low"],
            r["effect_high"],
            r["effect_sd"],
            r["launches"],
            r["detectable"],
            bool(gate["invalid"]),
            gate["cost"].get(r["cell"], 0.0),
            seconds,
            gate["code"],
        )
        for r in found["records"]
        if r["verdict"] and r["effect"] is not None
    ]


def against_head(arguments: Sequence[str], folder: Path | None = None) -> dict[str, Any]:
    """Run the gate on the working tree in ``folder`` against its HEAD. Return its report
    (``--bench-report``).

    It runs in a pytest of its own, with a temporary store. Raises ``SystemExit`` if there is no
    report.
    """
    with tempfile.TemporaryDirectory() as place:
        report_file = Path(place) / "run.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--bench-against",
            "HEAD",
            *arguments,
            "--bench-report",
            str(report_file),
            "--bench-store",
            str(Path(place) / "store.sqlite"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if not report_file.exists():
            raise SystemExit(
                f"the gate ended with status {done.returncode} and no report:\n{(done.stdout + done.stderr)[-3000:]}"
            )
        report: dict[str, Any] = json.loads(report_file.read_text()) | {"exit": done.returncode}
        return report


def _write(path: Path, rows: Sequence[Row], runs: int, sizes: Sequence[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plant = f" --plant {','.join(f'{size:g}' for size in sizes)}" if sizes else ""
    with path.open("w", newline="") as file:
        file.write(f"# paritygate aa --runs {runs}{plant} --resume {path}\n")
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in asdict(row).items()}
            )


def summary(rows: Sequence[Row]) -> str:
    """Return one run as a line."""
    return f"{_counts(rows)}, {rows[0].seconds:.0f} s" if rows else "nothing was compared"


def _counts(rows: Sequence[Row]) -> str:
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in Verdict}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def report(rows: Sequence[Row]) -> str:
    """Return the figures: false reds, power, coverage, undecided cells, spread and cost."""
    if not rows:
        return "no runs"
    runs = sorted({row.run for row in rows})
    plain = [row for row in rows if not row.planted]
    reds = {row.run for row in plain if row.verdict in RED}
    upper = (
        stats.beta.ppf(0.95, len(reds) + 1, len(runs) - len(reds)) if len(reds) < len(runs) else 1.0
    )
    lines = [
        f"{len(runs)} runs, {len(rows)} verdicts, {sum(row.invalid for row in rows)} of them in invalid runs",
        f"false reds: {len(reds)} of {len(runs)} runs (at most {upper:.1%} at 95 %, Clopper-Pearson)",
    ]
    covered = sum(row.low <= 0 <= row.high for row in plain)
    lines.append(
        f"95 % intervals that cover 0: {covered} of {len(plain)} ({covered / max(1, len(plain)):.1%})"
    )
    spread = {
        cell: float(np.median([row.sd for row in plain if row.cell == cell]))
        for cell in {r.cell for r in plain}
    }
    calm = [row for row in plain if spread[row.cell] <= CALM]
    open_ = sum(row.verdict == Verdict.INCONCLUSIVE for row in calm)
    lines.append(
        f"inconclusive: {open_} of {len(calm)} among cells whose launch pairs spread by at most {CALM:.1%}"
    )
    seconds = np.array([next(row.seconds for row in rows if row.run == number) for number in runs])
    cells = len({row.cell for row in rows})
    lines.append(
        f"time: median {np.median(seconds):.0f} s a run of {cells} cells, {np.median(seconds) / cells:.1f} s a cell"
    )
    for what, mine in (
        ("same", [row for row in rows if row.verdict == Verdict.SAME]),
        ("regressed", [row for row in rows if row.verdict == Verdict.REGRESSED]),
    ):
        if mine:
            lines.append(
                f"the gate's own time for a cell that ends {what}: median {_median(mine, 'cost'):.1f} s"
            )
    for size in sorted({row.planted for row in rows if row.planted}):
        lines.append(_power([row for row in rows if row.planted == size], size))
    lines.append("cell: sd of launch pairs (median), smallest slowdown seen (median), verdicts")
    for cell in sorted(spread):
        mine = [row for row in plain if row.cell == cell]
        lines.append(
            f"  {cell}: {spread[cell]:.2%}, {np.median([row.detectable for row in mine]):.1%}, {_counts(mine)}"
        )
    return "\n".join(lines)


def _median(rows: Sequence[Row], name: str) -> float:
    return float(np.median([getattr(row, name) for row in rows]))


def _power(rows: Sequence[Row], size: float) -> str:
    found = sum(row.verdict == Verdict.REGRESSED for row in rows)
    bias = float(np.mean([row.effect - size for row in rows]))
    covered = sum(row.low <= size <= row.high for row in rows)
    sure = [row for row in rows if row.sd <= SURE]
    found_sure = sum(row.verdict == Verdict.REGRESSED for row in sure)
    return (
        f"planted {size:.0%}: {found} of {len(rows)} found "
        f"({found_sure} of {len(sure)} where launch pairs spread by at most {SURE:.0%}), "
        f"bias {bias:+.2%}, interval covers it in {covered}"
    )
