"""Parse the comment ``/bench [-k EXPR] [--bench-profile strict] ...`` of a pull request.

The comment is a stranger's text until it is parsed: only options of a table pass, each with values
of a known form. Nothing is expanded, abbreviated or read from a file. Standard library only.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

LONGEST = 500  # characters of a command
LONGEST_VALUE = 200  # characters of a value; pytest parses -k recursively
COMMAND = re.compile(r"/bench(?=\s|$)")
# names as in cell ids; none begins with "-" (an option) or "@" (pytest reads a file of that name)
TOKEN = re.compile(r"\s*(?:([()])|([A-Za-z0-9_\[][A-Za-z0-9_.:+\[\]-]*))")
TARGETS = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9_*?.,-]*")
SECONDS = range(60, 3601)


class CommandError(ValueError):
    """The comment is no command that is allowed. Its text is one line, which says what is."""


def expression(value: str) -> bool:
    """Return whether a value is an expression of ``-k``: names, ``and``, ``or``, ``not``, ( )."""
    place, depth, wants_name = 0, 0, True
    value = value.rstrip()
    while place < len(value):
        token = TOKEN.match(value, place)
        if token is None:
            return False
        place, word = token.end(), token[token.lastindex or 0]
        if wants_name and word in ("not", "("):
            depth += word == "("
        elif wants_name and word not in ("and", "or", ")"):
            wants_name = False
        elif not wants_name and word in ("and", "or"):
            wants_name = True
        elif not wants_name and word == ")" and depth:
            depth -= 1
        else:
            return False
    return not wants_name and depth == 0


def seconds(value: str) -> bool:
    """Return whether a value is a number of seconds within the limits."""
    return re.fullmatch(r"[0-9]{1,5}", value) is not None and int(value) in SECONDS


@dataclass(frozen=True)
class Option:
    """An option that a comment may give. ``accepts`` is None for one without a value."""

    name: str
    value: str
    allowed: str
    accepts: Callable[[str], object] | None


def choice(*names: str) -> tuple[str, str, Callable[[str], object]]:
    """Return the value, its description and its check for an option with a few values."""
    return "|".join(names), f"one of {', '.join(names)}", names.__contains__


OPTIONS = (
    Option(
        "-k",
        "EXPR",
        'names of cells with and, or, not and ( ), in quotes, e.g. -k "bert and not compile"',
        expression,
    ),
    Option("--bench-profile", *choice("normal", "strict", "noisy")),
    Option("--bench-budget", *choice("quick", "normal")),
    Option(
        "--bench-targets",
        "TARGETS",
        "a comma list of globs, e.g. cpu-*-fp32 or compile,eager",
        TARGETS.fullmatch,
    ),
    Option(
        "--bench-limit",
        "SECONDS",
        f"a whole number from {SECONDS[0]} to {SECONDS[-1]}",
        seconds,
    ),
    Option("--bench-all", "", "no value", None),
)
BY_NAME = {option.name: option for option in OPTIONS}


def usage() -> str:
    """Return the line that says which options there are."""
    parts = (f"[{option.name} {option.value}".rstrip() + "]" for option in OPTIONS)
    return " ".join(["/bench", *parts])


def is_command(comment: str) -> bool:
    """Return whether a comment begins with the word ``/bench``; any other is no business of ours."""
    return COMMAND.match(comment) is not None


def parse(comment: str) -> list[str]:
    """Return the arguments of pytest that a command asks for. Raises CommandError."""
    words, arguments = _words(comment), list[str]()
    while words:
        name, joined, value = words.pop(0).partition("=")
        option = BY_NAME.get(name)
        if option is None:
            hint = "" if name.startswith("-") else "; an expression of several words needs quotes"
            raise CommandError(f"{shown(name)} is not allowed here{hint}; allowed: {usage()}")
        if name in arguments:  # no value can be a name: none begins with a dash
            raise CommandError(f"{name} is given twice")
        arguments.append(name)
        if option.accepts is None:
            if joined:
                raise CommandError(f"{name} takes no value, but has {shown(value)}")
            continue
        if not joined:
            if not words or words[0].startswith("-"):
                raise CommandError(f"{name} needs a value: {option.allowed}")
            value = words.pop(0)
        if len(value) > LONGEST_VALUE:
            raise CommandError(
                f"the value of {name} has {len(value)} characters, at most {LONGEST_VALUE} are allowed"
            )
        if not option.accepts(value):
            raise CommandError(f"{name} {shown(value)} is not allowed; allowed: {option.allowed}")
        arguments.append(value)
    return arguments


def shown(text: str) -> str:
    """Return a stranger's text as ASCII of one line, short, and harmless in Markdown code."""
    text = ascii(text[:60] + ("..." if len(text) > 60 else ""))[1:-1]
    return f"`{text.replace('`', '?')}`" if text else "an empty word"


def _words(comment: str) -> list[str]:
    if not is_command(comment):
        raise CommandError("a command begins with /bench")
    line, _, rest = comment.replace("\r\n", "\n").partition("\n")
    if rest.strip():
        raise CommandError(
            f"a command is one line, and nothing else is in the comment; found {shown(rest.strip())}"
        )
    line = line.rstrip(" ")
    if len(line) > LONGEST:
        raise CommandError(f"the command has {len(line)} characters, at most {LONGEST} are allowed")
    for place, character in enumerate(line, 1):
        if not " " <= character <= "~":
            raise CommandError(f"character {place} is {_named(character)}")
    try:
        return shlex.split(line)[1:]
    except ValueError as error:  # an open quote, or a backslash at the end
        raise CommandError(f"the words are not well quoted: {error}") from None


def _named(character: str) -> str:
    name = unicodedata.name(character, "a control character")
    if unicodedata.category(character) == "Pd" or "MINUS" in name:
        right = "write the - of the keyboard"
    elif "QUOTATION" in name or "APOSTROPHE" in name:
        right = 'write the " of the keyboard'
    else:
        right = "only printable ASCII is allowed"
    return f"U+{ord(character):04X} ({name}): {right}"
