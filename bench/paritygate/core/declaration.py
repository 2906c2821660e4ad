"""Checks of a declaration, made as soon as it exists. An error names the option, its value, and what
to write instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__tracebackhide__ = True  # pytest then shows the line of the suite instead of these functions


class DeclarationError(ValueError):
    """A case, shape or target is declared wrongly. The message names it, the value, and a right
    value.
    """


def require_strings(where: str, option: str, given: object) -> None:
    """Raise unless ``given`` is a tuple or list of strings. A single string would be read as a
    sequence of letters.
    """
    if isinstance(given, str):
        parts = [part.strip() for part in given.split(",")]
        raise DeclarationError(
            f"{where}: {option}={given!r} is one string; write a tuple of strings: "
            f"{option}={written(parts)}"
        )
    if not isinstance(given, tuple | list) or not all(isinstance(one, str) for one in given):
        raise DeclarationError(
            f"{where}: {option}={given!r} must be a tuple of strings, e.g. {option}={written(['a', 'b'])}"
        )


def require_mapping(where: str, option: str, given: object, example: str) -> None:
    """Raise unless ``given`` is a dict with strings as keys. ``example``: such a dict."""
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise DeclarationError(f"{where}: {option}={given!r} must be a dict, e.g. {example}")


def require_reasons(where: str, option: str, given: Mapping[str, object]) -> None:
    """Raise unless every value is a text. A cell with an empty reason would not be skipped."""
    for pattern, reason in given.items():
        if not isinstance(reason, str) or not reason.strip():
            raise DeclarationError(
                f"{where}: {option}[{pattern!r}]={reason!r} must be the reason, in words"
            )


def require_number(where: str, option: str, given: object, example: str) -> None:
    """Raise unless ``given`` is a number. ``example``: a number and its meaning."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise DeclarationError(f"{where}: {option}={given!r} must be a number, e.g. {example}")


def written(strings: Sequence[str]) -> str:
    """Return the source code of a tuple of strings, with double quotes."""
    quoted = ", ".join(f'"{one}"' for one in strings)
    return f"({quoted},)" if len(strings) == 1 else f"({quoted})"
