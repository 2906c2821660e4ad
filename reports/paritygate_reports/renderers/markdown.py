"""The run for a pull request: worst first, numbers folded. Names and messages are foreign text, so
they are escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from paritygate.core.reasons import first_line
from paritygate.core.record import Record, Run
from paritygate_reports.view.sections import Item, Section, conclusion, headline, sections, summary
from paritygate_reports.view.table import HEAD, Group, groups, parity_only
from paritygate_reports.view.text import printable

# A character reference has no meaning in Markdown, so such a character is shown as it is.
_SPECIAL = {char: f"&#{ord(char)};" for char in "|`*[]~\\$"}
NOTE_LENGTH = 100  # of a failure inside the table; the full text is above
_NO_MENTION = "\u200b"  # after @ and #: a message must not mention people or link to issues


def render(run: Run, records: Sequence[Record], places: Sequence[str] = ()) -> str:
    """Return the run as GitHub's Markdown."""
    return "\n".join(_lines(run, records, places)) + "\n"


def escape(text: str) -> str:
    """Return foreign text without effect in Markdown: no markup, HTML, table cell, line break or
    mention.
    """
    text = html.escape(printable(text).replace("\n", " "), quote=False)
    text = "".join(_SPECIAL.get(char, char) for char in text)
    # an underscore inside a word has no effect
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", "&#95;", text)
    return re.sub(r"@(?=\w)|(?<!&)#(?=\d)", lambda match: match[0] + _NO_MENTION, text)


def _lines(run: Run, records: Sequence[Record], places: Sequence[str]) -> Iterator[str]:
    yield f"## paritygate: {conclusion(run, records)}"
    yield ""
    yield f"**{escape(summary(run, records))}**"
    shown = sections(run, records)
    for section in shown:
        if section.bad:
            yield from ("", f"### {section.title.capitalize()}", "", *_items(section))
    tables = sorted(groups(records), key=_worst_first)
    if tables:
        yield from folded(f"Table: {len(tables)} groups", _tables(tables))
    fine = [f"- {escape(case)}: {escape(line)}" for case, line in parity_only(records).items()]
    if fine:
        yield from folded("Checked, not timed", fine)
    for section in shown:
        if not section.bad:
            yield from folded(
                f"{section.title.capitalize()} ({len(section.items)})", _items(section)
            )
    yield ""
    yield "<br>".join(f"<sub>{escape(line)}</sub>" for line in (headline(run), *places))


def _worst_first(group: Group) -> tuple[bool, float]:
    """Return a sort key: groups with a failure first, then by the smallest speedup."""
    speedups = [row.record.speedup for row in group.rows if row.record.speedup is not None]
    return not group.bad, min(speedups, default=1.0)


def _tables(tables: Sequence[Group]) -> Iterator[str]:
    for place, group in enumerate(tables):
        unit = f", {escape(group.unit)}/s" if group.unit else ""
        yield from ([""] if place else [])
        yield from (f"**{escape(group.case)} {escape(group.shape)}**{unit}", "")
        yield "| " + " | ".join(HEAD) + " |"
        yield "| :-- |" + " --: |" * (len(HEAD) - 1)
        for row in group.rows:
            texts = (*row.texts, _short(row.note)) if row.note else row.texts
            texts = (*texts, *[""] * (len(HEAD) - len(texts)))
            yield "| " + " | ".join(escape(what) for what in texts) + " |"


def _items(section: Section) -> Iterator[str]:
    for item in section.items:
        yield from _item(item)


def _item(item: Item) -> Iterator[str]:
    lines = item.body.strip().splitlines()
    if len(lines) > 1:
        yield f"- {escape(item.lead)}: {escape(first_line(item.body))}"
        code = "<br>".join(escape(line).replace("  ", "&nbsp; ") for line in lines)
        yield f"  <details><summary>all of it</summary><code>{code}</code></details>"
    else:
        yield f"- {escape(item.lead)}" + (f": {escape(lines[0])}" if lines else "")


def _short(note: str) -> str:
    return note if len(note) <= NOTE_LENGTH else note[: NOTE_LENGTH - 1] + "…"


def folded(title: str, inside: Iterator[str] | list[str]) -> Iterator[str]:
    """Yield lines that are shown when their title is clicked."""
    # GitHub reads Markdown inside <details> only after an empty line
    yield from ("", f"<details><summary>{escape(title)}</summary>", "", *inside, "", "</details>")
