"""Makes ``reports/evidence/mutation.csv``: which weights of every case the check would notice if
they were wrong.

    python -m bench.evidence.mutation

Runs the matrix of the budget normal in eager float32 with ``--bench-mutation on`` and without
timing, and keeps the score of each case with the names of the weights that go unnoticed, and of
those that the answer does not depend on.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

from evidence.checking import check
from paritygate_reports.store.store import Store

OUT = Path("reports/evidence/mutation.csv")
LEAST = 0.95  # is asked of this repository's cases


def main() -> None:
    """Run the matrix, then summarise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
