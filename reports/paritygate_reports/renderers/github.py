"""A run in GitHub Actions: annotations on the log, and the job's summary page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from paritygate.core.reasons import cut
from paritygate.core.record import RED, Record, Run
from paritygate_reports.renderers import markdown
from paritygate_reports.view import gate_lines
from paritygate_reports.view.table import is_failure
from paritygate_reports.view.text import printable

MOST = 9  # GitHub shows ten annotations of a step; pytest's own failure line is one
SUMMARY_BYTES = 1_000_000  # a step's summary may hold 1 MiB, and others write there, too
CUT = "\n\n</details>\n\n**Cut here: the rest is in the report file.**\n"


def commands(run: Run, records: Sequence[Record]) -> Iterator[str]:
    """Yield at most nine workflow commands, worst first: regressions and failures, then the reasons
    that make the run invalid.
    """
    bad = [record for record in gate_lines.compared(records) if record.verdict in RED]
    failures = [record for record in records if is_failure(record)]
    lines = [
        _error(f"{r.verdict}: {r.cell}", f"{gate_lines.line(r)}\n{gate_lines.body(r)}") for r in bad
    ]
    lines += [_error(f"{r.status}: {r.cell}", r.reason) for r in failures]
    lines += [_error("paritygate", text) for text, wrong in gate_lines.remarks(run) if wrong]
    if len(lines) > MOST:
        more = len(lines) - MOST + 1
        lines = [
            *lines[: MOST - 1],
            _error("paritygate", f"{more} more failures: see the job's summary"),
        ]
    yield from lines


def write_summary(
    environment: Mapping[str, str], run: Run, records: Sequence[Record], places: Sequence[str]
) -> None:
    """Append the run to the job's summary page, cut to the size that GitHub accepts. Raises
    ``OSError``.
    """
    path = Path(environment["GITHUB_STEP_SUMMARY"])
    text = markdown.render(run, records, places).encode("utf-8", "backslashreplace")
    if len(text) > SUMMARY_BYTES:
        text = text[: SUMMARY_BYTES - len(CUT)].rpartition(b"\n")[0] + CUT.encode()
    with path.open("ab") as file:
        file.write(text)


def _error(title: str, message: str) -> str:
    """Return a workflow command. Characters that would end it or begin another are escaped as in
    GitHub's toolkit.
    """
    body = (
        cut(printable(message).strip())
        .replace("%", "%25")
        .replace("\r", "%0D")
        .replace("\n", "%0A")
    )
    head = printable(title).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::error title={head.replace(':', '%3A').replace(',', '%2C')}::{body}"
