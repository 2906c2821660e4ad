"""Make ``reports/evidence/laboratory.csv``: the effect of the laboratory's environment on 18 cells.

    python -m bench.evidence.laboratory --launches 10
    python -m bench.evidence.laboratory --launches 10 --six      # reports/evidence/laboratory_six.csv

Every launch starts two processes in laboratory conditions and two in the default environment for
each cell, and interleaves their blocks. The script can be resumed: launches in the file are kept.
It ends with the rule of the laboratory: no cell's median over 3 % slower, no cell's spread between
processes larger. The spreads of the six cells that the README states follow. With ``--six`` all
launches of one cell follow each other within a minute or two, then those of the next cell. So slow
changes of the host affect them less.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict, fields
from pathlib import Path

from evidence import command_line
from paritygate.doctor import reference_cells, spread
from paritygate.host import machine

OUT = Path("reports/evidence/laboratory.csv")
# number of rows in a complete launch
EXPECTED = len(reference_cells.ALL) * len(reference_cells.BACKENDS) * len(spread.SIDES)


def read(path: Path) -> list[spread.Launch]:
    """Return the launches in a file; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            spread.Launch(
                int(r["launch"]), r["cell"], r["side"], float(r["block_median"]), float(r["p50"])
            )
            for r in csv.DictReader(line for line in file if not line.startswith("#"))
        ]


def main() -> None:
    """Measure, append to the file and print a summary."""
    parser = command_line.parser()
    parser.add_argument("--launches", type=int, default=10)
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="blocks of one cell on one side, a launch"
    )
    parser.add_argument(
        "--six", action="store_true", help="six cells only, one after the other, from the start"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    if arguments.six:
        print(_six(arguments.launches, arguments.seconds))
        return
    rows = read(arguments.out)
    # an incomplete launch is measured again
    complete = {n for n in {r.launch for r in rows} if sum(r.launch == n for r in rows) == EXPECTED}
    rows = [row for row in rows if row.launch in complete]
    selected = spread.cells_of(reference_cells.ALL, reference_cells.BACKENDS)
    missing = [n for n in range(arguments.launches) if n not in complete]
    for launch in missing:
        rows += spread.launches(
            selected, 1, Path(".paritygate"), seconds=arguments.seconds, first=launch, say=str
        )
        _write(arguments.out, rows)
        print(f"launch {launch + 1} of {arguments.launches} done", file=sys.stderr, flush=True)
    print(report(rows))


def report(rows: list[spread.Launch]) -> str:
    """Return the table, the rule, and the six cells' spreads, as text."""
    lines = [
        "cell: laboratory, default (median, spread between processes in the same seconds); slower; rule"
    ]
    for cell in spread.summarise(rows):
        sides = "  ".join(
            f"{cell.median[c] * 1e3:7.3f} ms {cell.deviation[c]:5.1%}" for c in spread.CONDITIONS
        )
        lines.append(
            f"{cell.cell:<42} {sides}  {cell.slower:+6.1%}  {'; '.join(cell.breaks()) or 'kept'}"
        )
    return "\n".join([*lines, "", *_spreads(rows)])


def _six(launches: int, seconds: float) -> str:
    rows: list[spread.Launch] = []
    for cell in spread.cells_of(reference_cells.SIX, reference_cells.SIX_BACKENDS):
        rows += spread.launches([cell], launches, Path(".paritygate"), seconds=seconds, say=str)
        _write(OUT.with_name("laboratory_six.csv"), rows)
        print(f"{cell.id} done", file=sys.stderr, flush=True)
    return "\n".join(_spreads(rows))


def _spreads(rows: list[spread.Launch]) -> list[str]:
    """Return the spread of p50 in six cells, as lines."""
    six = {cell.id for cell in spread.cells_of(reference_cells.SIX, reference_cells.SIX_BACKENDS)}
    spreads = spread.summarise([row for row in rows if row.cell in six], "p50")
    lines = [f"p50 of six cells, {spreads[0].launches} interleaved launches, two processes each:"]
    for s in spreads:
        lines.append(
            f"  {s.cell:<40} variation {s.variation['laboratory']:5.1%} of {s.variation['default']:5.1%}, "
            f"between processes {s.deviation['laboratory']:5.1%} of {s.deviation['default']:5.1%}"
        )
    lines.append(
        f"  laboratory over default, geometric mean: variation {spread.gain(spreads, 'variation'):.2f}, "
        f"between processes {spread.gain(spreads, 'deviation'):.2f}"
    )
    return lines


def _write(path: Path, rows: list[spread.Launch]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = machine.facts()
    with path.open("w", newline="") as file:
        file.write(
            f"# python -m bench.evidence.laboratory; {facts['cpu']}, {facts['threads']} threads, "
            f"{facts['libc']}, torch {facts.get('version_torch')}; seconds per call\n"
        )
        writer = csv.DictWriter(file, [f.name for f in fields(spread.Launch)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            asdict(row) | {"block_median": f"{row.block_median:.6g}", "p50": f"{row.p50:.6g}"}
            for row in rows
        )


if __name__ == "__main__":
    main()
