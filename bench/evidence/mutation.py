"""Make ``reports/evidence/mutation.csv``: the weights of every case in which the check would notice
an error.

    python -m bench.evidence.mutation

Runs the matrix of the budget normal in eager float32 with ``--bench-mutation on`` and without
timing. Keeps the score of each case, the names of the weights in which errors are not noticed, and
of those that do not affect the answer.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

from evidence import command_line
from evidence.checking import check
from paritygate_reports.store.store import Store

OUT = Path("reports/evidence/mutation.csv")
LEAST = 0.95  # the score that this repository's cases must reach


def main() -> None:
    """Run the matrix, then summarise."""
    parser = command_line.parser()
    parser.add_argument("-k", dest="select", default="not train_ and not learn_ and not grad_")
    parser.add_argument("--budget", default="normal")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"{folder}/store.sqlite")
        options = {
            "-k": f"test_parity and ({arguments.select})",
            "--bench-targets": "cpu-eager-fp32",
            "--bench-budget": arguments.budget,
            "--bench-mutation": "on",
        }
        check("bench", store.url, options)
        records = [record for run in store.runs() for record in store.records(run.id)]
    scores = {
        f"{r.case}-{r.shape}": r.facts["mutation"]
        for r in records
        if r.facts.get("mutation", {}).get("weights")
    }
    with arguments.out.open("w", newline="") as file:
        file.write("# python -m bench.evidence.mutation\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["case", "weights", "noticed", "unnoticed", "without_effect"])
        for name, score in sorted(scores.items()):
            names = [" ".join(score[key]) for key in ("unnoticed", "without_effect")]
            writer.writerow([name, score["weights"], f"{score['noticed']:.3f}", *names])
    low = {name: score["noticed"] for name, score in scores.items() if score["noticed"] < LEAST}
    print(f"{len(scores)} cases, {len(low)} below {LEAST:.0%}: {low}")


if __name__ == "__main__":
    main()
