"""Reasons as text: what acts on a terminal is gone, nothing else is, and the first line says
something.
"""

from __future__ import annotations

import pytest

from paritygate.core.reasons import (
    HEAD,
    LIMIT,
    LINE,
    TAIL,
    clean,
    cut,
    first_line,
    mistake,
    split,
    whole,
)
from paritygate.core.record import End, Status
from paritygate.process.client import WorkerError

BAR = "\r 10%|█         | 1/10\r 50%|█████     | 5/10\r100%|██████████| 10/10"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[38;2;1;2;3mtrue colour\x1b[K", "true colour"),
        ("\x1b]8;;https://host/a\x1b\\the page\x1b]8;;\x1b\\", "the page"),
        ("\x1b]0;title\x07text", "text"),
        ("\x9b31mred\x9b0m", "red"),
        ("\x1bP1$tx\x1b\\text", "text"),
        ("\x1b(Btext\x1b7\x1b=", "text"),
        ("never ended \x1b]0;title\nnext line", "never ended\nnext line"),
        (f"loading\n{BAR}\ndone", "loading\n100%|██████████| 10/10\ndone"),
        ("50%\r100%\r      \rnext", "next"),
        ("50%\r100%\r      \r\nnext", "100%\nnext"),
        ("a\r\nb\r\n", "a\nb"),
        ("|\x08/\x08-\x08done", "done"),
        ("bell\x07, null\x00, delete\x7f", "bell, null, delete"),
        ("page\x0cpage\u2028line", "page\npage\nline"),
        ("\n\n  indented\n\n    more  \n\n", "  indented\n\n    more"),
        ("tab\tand é, 日本, \u202e stay", "tab\tand é, 日本, \u202e stay"),
        ("", ""),
    ],
)
def test_a_text_is_as_a_terminal_would_show_it_in_the_end(text, shown):
    assert clean(text) == shown
    assert clean(shown) == shown


@pytest.mark.parametrize(
    ("reason", "first", "rest"),
    [
        ("ValueError: it is so\nand so", "ValueError: it is so", "and so"),
        ("ValueError: nan\nand so", "ValueError: nan", "and so"),
        ("ValueError:\nit is so", "ValueError: it is so", ""),
        ("ValueError\n\n   it is so\n  really", "ValueError: it is so", "  really"),
        ("\n\nit is so\n", "it is so", ""),
        (
            "torch._dynamo.exc.Unsupported\nno such op",
            "torch._dynamo.exc.Unsupported: no such op",
            "",
        ),
        ("Failed: InternalError\nno such op\nhere", "Failed: InternalError: no such op", "here"),
        (
            "backend='inductor' raised:\nLoweringError:\n  KeyError: 'x'\nwhile lowering",
            "backend='inductor' raised: LoweringError: KeyError: 'x'",
            "while lowering",
        ),
        ("ValueError: ======\nit is so\n======", "ValueError: it is so", "======"),
        ("-----\nit is so", "it is so", ""),
        ("cannot say:", "cannot say:", ""),
        ("RuntimeError", "RuntimeError", ""),
        ("", "", ""),
        (
            "Traceback (most recent call last):\n  File a\nKeyError: 'x'",
            "KeyError: 'x'",
            "Traceback (most recent call last):\n  File a\nKeyError: 'x'",
        ),
        (
            "worker 0 failed:\nTraceback (most recent call last):\n  File a\nKeyError: 'x'\n  more",
            "worker 0 failed: KeyError: 'x'",
            "Traceback (most recent call last):\n  File a\nKeyError: 'x'\n  more",
        ),
    ],
)
def test_the_first_line_has_content_and_no_line_is_lost(reason, first, rest):
    assert split(reason) == (first, rest)
    assert first_line(reason) == first
    assert whole(whole(reason)) == whole(reason), "it is asked for again wherever a reason is shown"


def test_a_first_line_is_short_enough_for_a_table():
    line = first_line("x" * 1000 + "\nmore")

    assert len(line) == LINE
    assert line.endswith("x…")


def test_a_reason_of_pages_keeps_beginning_and_end_and_says_what_is_missing():
    text = "\n".join(f"line {number} of many" for number in range(1000))
    short = whole(text)

    assert short.startswith(text[:HEAD])
    assert short.endswith(text[-TAIL:])
    assert f"\n... {len(text) - HEAD - TAIL:,} characters left out ...\n" in short
    assert len(short) <= LIMIT
    assert whole(f"no reference: failed, {short}").count("left out") == 1, (
        "with words in front it is not cut again"
    )
    assert cut("x" * LIMIT) == "x" * LIMIT


LOUD = "\x1b[31mValueError:\x1b[0m\nit is so\r\nand so"


def test_however_a_cell_ends_its_reason_has_no_codes_and_all_lines():
    end = WorkerError(Status.FAILED, LOUD, None, LOUD).end

    assert end == End(Status.FAILED, "ValueError: it is so\nand so", clean(LOUD))
    assert "\x1b" not in end.trace


def test_numbers_of_an_exception_do_not_count_those_of_a_finding_do():
    def raised(size):
        line = f"RuntimeError: {size} rows"
        return mistake(line, f"Traceback (most recent call last):\n  ...\n{line}")

    assert raised(8) == raised(4)
    assert mistake("2 graph breaks") != mistake("3 graph breaks")
    found = "Traceback (most recent call last):\n  ...\npackage.BackendError: {} graph breaks"
    assert mistake("2 graph breaks", found.format(2)) != mistake("3 graph breaks", found.format(3))
