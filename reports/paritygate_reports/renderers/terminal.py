"""The table for a terminal and a CI log: at most 100 columns, no markup."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from paritygate.core.record import Record, Run
from paritygate_reports.view.sections import Item, Section, headline, passed, sections, summary
from paritygate_reports.view.table import HEAD, Group, Row, groups, parity_only
from paritygate_reports.view.text import printable

WIDTH = 100
REASON_LINES = 10  # of a failure; the full text is in the store


class Line(NamedTuple):
    """One line and its tone: ``"good"``, ``"bad"``, ``"title"`` or ``""``. The caller may show the
    tone as a colour.
    """

    text: str
    tone: str = ""


def render(run: Run, records: Sequence[Record], places: Sequence[str] = ()) -> str:
    """Return the run as plain text."""
    return "\n".join(line.text for line in lines(run, records, places)) + "\n"


def lines(
    run: Run,
    records: Sequence[Record],
    places: Sequence[str] = (),
    brief: bool = False,
    further: Sequence[Section] = (),
) -> Iterator[Line]:
    """Yield the run line by line, ``further`` sections after its own. ``brief`` leaves out sections
    that report nothing bad.
    """
    yield from _wrapped(headline(run))
    yield Line("")
    yield from _table(groups(records), parity_only(records))
    for section in (*sections(run, records), *further):
        if section.bad or not brief:
            yield from _section(section)
    yield from _wrapped(summary(run, records), "good" if passed(run, records) else "bad")
    for place in places:
        yield Line(printable(place).replace("\n", " "))


def _table(shown: Sequence[Group], fine: dict[str, str]) -> Iterator[Line]:
    """Yield the groups under one head. After the last group of a case comes its line about shapes
    that were not timed.
    """
    widths = _widths([row for group in shown for row in group.rows])
    if shown:
        yield Line(_laid_out(HEAD, widths), "title")
    for place, group in enumerate(shown):
        unit = f"  {group.unit}/s" if group.unit else ""
        yield Line(_one_line(f"{group.case}  {group.shape}{unit}"), "title")
        for row in group.rows:
            yield from _row(row, widths)
        last = all(group.case != later.case for later in shown[place + 1 :])
        if last and group.case in fine:
            yield Line(_one_line(f"  {fine[group.case]}"))
    with_table = {group.case for group in shown}
    for case, line in fine.items():
        if case not in with_table:
            yield Line(_one_line(f"{case}  {line}"))
    if shown or fine:
        yield Line("")


def _row(row: Row, widths: Sequence[int]) -> Iterator[Line]:
    target, *numbers = row.texts
    if row.note:
        tone = "" if row.note.startswith(("skipped", "known failure")) else "bad"
        yield Line(_one_line(f"  {printable(target):<{widths[0]}}  {row.note}"), tone)
    elif len(printable(target)) > widths[0]:  # a name that is too long gets a line of its own
        yield Line(_one_line("  " + target))
        yield Line(_laid_out(["", *numbers], widths))
    else:
        yield Line(_laid_out(row.texts, widths))


def _widths(rows: Sequence[Row]) -> list[int]:
    """Return the width of each column. The first column becomes narrower where a line would be
    longer than ``WIDTH``.
    """
    widths = [len(head) for head in HEAD]
    for row in rows:
        for place, what in enumerate(row.texts):
            widths[place] = max(widths[place], len(printable(what)))
    widths[0] = max(len(HEAD[0]), min(widths[0], WIDTH - sum(widths[1:]) - 2 * len(widths)))
    return widths


def _laid_out(texts: Sequence[str], widths: Sequence[int]) -> str:
    """Return a line with the target at the left and all numbers at the right."""
    first, *rest = (printable(what) for what in texts)
    numbers = "".join(f"  {what:>{width}}" for what, width in zip(rest, widths[1:], strict=True))
    return f"  {first:<{widths[0]}}{numbers}".rstrip()


def _section(section: Section) -> Iterator[Line]:
    tone = "bad" if section.bad else ""
    yield Line(section.title, "title")
    for item in section.items:
        yield from _item(item, tone)
    yield Line("")


def _item(item: Item, tone: str) -> Iterator[Line]:
    yield from _wrapped(item.lead, tone, "  ", "    ")
    body = [
        line for part in item.body.splitlines() for line in _wrapped(part, "", "      ", "      ")
    ]
    yield from body[:REASON_LINES]
    if len(body) > REASON_LINES:
        yield Line(f"      ... {len(body) - REASON_LINES} more lines in the store")


def _wrapped(what: str, tone: str = "", first: str = "", further: str = "  ") -> Iterator[Line]:
    text = printable(what).replace("\n", " ")
    for line in textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=further, break_on_hyphens=False
    ):
        yield Line(line, tone)


def _one_line(what: str) -> str:
    text = printable(what).replace("\n", " ")
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
