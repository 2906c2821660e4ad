"""Reasons and traces as plain text: no terminal codes, a length limit, and a first line with
content.

Messages of libraries come with colours, progress bars, empty first lines and pages of context, and
often the second line holds the content. A record keeps the ``whole`` reason. Tables and one-line
summaries show its ``first_line``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LIMIT = 4000  # characters of a reason or a trace
# of a longer text, this many at either end; the sum leaves room for a prefix that is added later
HEAD, TAIL = 2600, 1000
LINE = 400  # characters of a first line
MERGED = 5  # lines that a first line without content may take along

CODES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC: titles, links
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c\n]*(?:\x1b\\|\x9c)?"  # DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]"  # two characters
)
BREAKS = re.compile(r"\r+\n|[\x0b\x0c\x85\u2028\u2029]")
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
RULER = re.compile(r"((?:[\w.]+: )*)[\W_]*")  # after class names nothing that is a word
NAMES = re.compile(r"(?:[\w.]+: )*(?:\w+\.)*[A-Z]\w*[a-z]\w*")  # class names alone
TRACEBACK = "Traceback (most recent call last)"


def clean(text: str) -> str:
    """Return the text as a terminal would show it in the end, without what acts on a terminal."""
    text = BREAKS.sub("\n", CODES.sub("", text))
    text = re.sub(r"[^\n\x08]\x08", "", text)  # a spinner that goes back over what it wrote
    return "\n".join(CONTROLS.sub("", _shown(line)).rstrip() for line in text.split("\n")).strip(
        "\n"
    )


def whole(text: str) -> str:
    """Return all lines of a reason, starting with one that has content. Cut the middle of a long
    one.
    """
    return cut("\n".join(_leading(clean(text).strip().split("\n"))))


def first_line(reason: str) -> str:
    """Return the line that stands for a reason where there is room for one line only."""
    line = split(reason)[0]
    return line if len(line) <= LINE else line[: LINE - 1] + "…"


def split(reason: str) -> tuple[str, str]:
    """Return the first line of a reason and all lines after it."""
    first, _, rest = whole(reason).partition("\n")
    return first, rest


def mistake(reason: str, trace: str = "") -> str:
    """Return the key of a failure: two failures of one case with the same key are one mistake.

    The message of an exception may contain the sizes of its shape, so its numbers are not part of
    the key. In a finding of the harness the numbers are the finding, and stay.
    """
    first = split(reason)[0]
    raised = any(line.startswith(first) for line in trace.splitlines())
    return re.sub(r"\d+", "#", whole(reason)) if raised else whole(reason)


def cut(text: str, limit: int = LIMIT, head: int = HEAD, tail: int = TAIL) -> str:
    """Return the text. If it is longer than ``limit`` characters, replace its middle by a line that
    says so.
    """
    if len(text) <= limit:
        return text
    return f"{text[:head]}\n... {len(text) - head - tail:,} characters left out ...\n{text[-tail:]}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 cell``, ``2 cells``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], between: str = ", ") -> str:
    """Return the first three names, and how many more there are."""
    return between.join(names[:3]) + (
        f"{between}and {len(names) - 3} more" if len(names) > 3 else ""
    )


def _shown(line: str) -> str:
    """Return the text that stays visible of a line that a progress bar has written again and
    again.
    """
    parts = line.split("\r")
    return next((part for part in reversed(parts) if part.strip()), "")


def _leading(lines: list[str]) -> list[str]:
    """Return the lines so that the first one has content: join it with the next ones until it
    has.
    """
    for _ in range(MERGED):
        first, rest = lines[0], lines[1:]
        while rest and not rest[0].strip():
            rest = rest[1:]
        if first.startswith(TRACEBACK) and rest:
            return [_last_words(rest), *lines]
        ruler = RULER.fullmatch(first)
        if not rest or not (
            ruler or first.endswith(":") or (len(first) <= LINE and NAMES.fullmatch(first))
        ):
            break
        lead = ruler[1] if ruler else f"{first} " if first.endswith(":") else f"{first}: "
        if rest[0].startswith(TRACEBACK):
            return [lead + _last_words(rest), *rest]
        lines = [lead + rest[0].strip(), *rest[1:]]
    return lines


def _last_words(lines: list[str]) -> str:
    """Return the line of a traceback that names the exception: the last line without
    indentation.
    """
    return next(
        (line for line in reversed(lines) if line and not line[0].isspace()), lines[-1]
    ).strip()
