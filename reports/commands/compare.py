"""Tells how a run stands to runs of other days: advice, the gate decides.

For each cell: is it slower than the history of such a machine lets expect? That takes eight runs at
least. What is flagged is to be measured side by side: pytest bench --bench-against.
"""

from __future__ import annotations

import argparse

from reports import text
from reports.commands import NAMES, opened, run_line

EXAMPLES = ("python -m reports compare main", "python -m reports compare main 3711b502 --strict")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    parser.add_argument("base", metavar="BASE", help="a branch: its runs before HEAD; or a run")
    parser.add_argument("head", nargs="?", default="latest", metavar="HEAD", help=f"{NAMES} (default: latest)")
    parser.add_argument("--strict", action="store_true",
                        help="exit status 1 where a cell is regressed, broken or missing")  # fmt: skip


def run(parsed: argparse.Namespace) -> int:
    """Prints a line a cell, the worst first."""
    import reports
    from reports.comparison import WORST_FIRST

    store = opened(parsed)
    head = store.find(parsed.head)
    wanted = ["run", "started", "cell", "status", "reason", "latency_p50", "machine"]
    where = store.url
    if any(run.branch == parsed.base for run in store.runs()):
        base = reports.load(where, branch=parsed.base, until=head.started, columns=wanted)
    else:
        base = reports.load(where, run=store.find(parsed.base).id, columns=wanted)
    found = reports.compare(base, reports.load(where, run=head.id, columns=wanted))
    place = {str(verdict): number for number, verdict in enumerate(WORST_FIRST)}
    rows = sorted(found.to_dict("records"), key=lambda row: (place.get(row["verdict"], 0), row["cell"]))
    print(
        f"{run_line(head)}\nagainst {text.counted(base['run'].nunique(), 'run')} of {parsed.base}; advice, see --help"
    )
    for row in rows:
        known = isinstance(row["effect"], float)
        effect = f"{row['effect']:+.1%} ({row['low']:+.1%} to {row['high']:+.1%})" if known else ""
        print(text.printable(f"{row['verdict'].replace('_', ' '):<15}{effect:<28} {row['cell']}  {row['reason']}"))
    bad = {"regressed", "broken", "missing"} & {row["verdict"] for row in rows}
    return int(parsed.strict and bool(bad))
