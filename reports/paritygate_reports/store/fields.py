"""The fields of Run and Record by kind of storage: scalars as columns, the rest as JSON, samples in
a table of their own.
"""

from __future__ import annotations

from types import UnionType
from typing import get_args, get_type_hints

from paritygate.core.record import Record, Run

BULK = ("blocks", "samples")  # large: stored separately, so that summaries load without them


def _scalars(kind: type) -> dict[str, type]:
    """Return field -> str, int, float or bool, for the fields that hold one plain value or None."""
    kinds: dict[str, type] = {}
    for name, hint in get_type_hints(kind).items():
        # `float | None` or `float`
        options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        for plain in (bool, str, int, float):  # bool first, since a bool is an int
            if isinstance(options[0], type) and issubclass(options[0], plain):
                kinds.setdefault(name, plain)
    return kinds


RECORD_SCALARS = _scalars(Record)
RECORD_JSON = tuple(name for name in get_type_hints(Record) if name not in (*RECORD_SCALARS, *BULK))
RUN_SCALARS = _scalars(Run)
RUN_JSON = tuple(name for name in get_type_hints(Run) if name not in RUN_SCALARS)


KINDS: dict[type, tuple[type, ...]] = {float: (float, int), int: (int,), bool: (bool,), str: (str,)}
NEEDED = ("id", "started", "cell")


def misfits(thing: Run | Record) -> list[str]:
    """Return the plain fields that hold a value of another kind, as "seed: 'x'". Values from a file
    must be checked by this.
    """
    wrong = []
    for name, kind in (RUN_SCALARS if isinstance(thing, Run) else RECORD_SCALARS).items():
        value = getattr(thing, name)
        # a bool is an int
        fits = isinstance(value, KINDS[kind]) and (kind is bool or not isinstance(value, bool))
        if not fits and (value is not None or name in NEEDED):
            wrong.append(f"{name}: {value!r}")
    return wrong


def clean(text: str) -> str:
    r"""Return the text in a form that every database takes.

    Lone surrogates (a crashed worker's bytes that are no UTF-8) become ``\udc80``, NUL, which
    PostgreSQL refuses, becomes ``\x00``.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
