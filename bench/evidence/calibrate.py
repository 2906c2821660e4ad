r"""Make ``reports/evidence/parity.csv``: how close unmodified backends come to the limits, over
many seeds.

    python -m bench.evidence.calibrate --seeds 20
    python -m bench.evidence.calibrate --seeds 2 -k "train_ or grad_" --budget normal --targets fp32,amp_bf16 \
        --out reports/evidence/gradients.csv

Checks the quick matrix in fp32 and bf16 with every seed (of weights and inputs), or the selected
cells. BERT base, which takes longest, is checked with the first two seeds only. Times nothing.
Keeps for each cell the largest error, the largest ratio to eager's error, and the largest share of
the allowed error. The script can be resumed: seeds in the store are kept. The limits themselves are
in ``bench/paritygate/parity/tolerances.csv``.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import shutil
import sys
from pathlib import Path

from evidence import command_line
from evidence.checking import check
from paritygate.core.record import Record, Status
from paritygate_reports.store.store import Store

OUT = Path("reports/evidence/parity.csv")
WIDE = 2  # seeds that also check BERT base
ONNX = Path(".paritygate/cache/onnx")
COLUMNS = ("cell", "seeds", "failures", "largest_error", "largest_ratio", "largest_share")


def main() -> None:
    """Run the missing seeds, then summarise."""
    parser = command_line.parser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--first", type=int, default=1, help="the first seed; two processes may share the work"
    )
    parser.add_argument(
        "-k", dest="select", default="not train_ and not grad_", help="pytest's selection"
    )
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--targets", default="fp32,bf16")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    store = Store(f".paritygate/calibration-{arguments.out.stem}.sqlite")
    exports = set(ONNX.iterdir()) if ONNX.exists() else set()
    for seed in range(arguments.first, arguments.seeds + 1):
        if not _complete(store, seed):
            _check(seed, store, arguments)
            print(f"seed {seed} of {arguments.seeds} done", file=sys.stderr, flush=True)
    # the latest run of each seed; earlier ones were interrupted
    latest = {run.seed: run.id for run in store.runs() if 1 <= run.seed <= arguments.seeds}
    records = [record for run in latest.values() for record in store.records(run)]
    # exports of weights that no other run uses
    for folder in set(ONNX.iterdir()) - exports if arguments.first == 1 else ():
        shutil.rmtree(folder, ignore_errors=True)
    rows = summarise(records)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", newline="") as file:
        file.write(f"# python -m bench.evidence.calibrate {shlex.join(sys.argv[1:])}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    unchecked = sum(record.status is Status.UNCHECKED for record in records)
    print(f"{len(latest)} seeds, {len(records)} records, {unchecked} of them unchecked")
    for dtype in arguments.targets.split(","):
        ours = [row for row in rows if row[0].endswith(f"-{dtype}")]
        if ours:
            print(
                f"{dtype}: {len(ours)} cells, {sum(row[2] for row in ours)} failures, largest error "
                f"{max(float(row[3]) for row in ours):.2g}, largest ratio {max(float(row[4]) for row in ours):.2g}, "
                f"closest to its limit {max(float(row[5]) for row in ours):.0%}"
            )


def summarise(records: list[Record]) -> list[tuple[str, int, int, str, str, str]]:
    """Return a row for each cell that was checked: see ``COLUMNS``."""
    checked: dict[str, list[Record]] = {}
    for record in records:
        if record.error is not None and record.status is not Status.SKIPPED:
            checked.setdefault(record.cell, []).append(record)
    return [
        (
            cell,
            len(group),
            sum(record.status is not Status.OK for record in group),
            f"{max(record.error or 0.0 for record in group):.3g}",
            f"{max(record.parity['ratio'] for record in group):.3g}",
            f"{max(record.error_share or 0.0 for record in group):.3g}",
        )
        for cell, group in sorted(checked.items())
    ]


def _check(seed: int, store: Store, chosen: argparse.Namespace) -> None:
    """Check one seed of the matrix, without timing."""
    select = chosen.select if seed <= WIDE else f"({chosen.select}) and not bert_base"
    options = {"-k": select, "--bench-targets": chosen.targets, "--bench-budget": chosen.budget}
    check("bench", store.url, options | {"--bench-seed": str(seed)})


def _complete(store: Store, seed: int) -> bool:
    """Return whether the seed's latest run has as many records as the largest run of the same
    selection.
    """
    sizes = {
        run.seed: len(store.records(run.id))
        for run in store.runs()
        if (run.seed <= WIDE) == (seed <= WIDE)
    }
    return sizes.get(seed, 0) == max(sizes.values(), default=1)


if __name__ == "__main__":
    main()
