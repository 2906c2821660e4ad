"""Values as people read them: seconds in one unit for each group, 20.1k, 1.31x, MiB, percent,
3.6e-7.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

SECOND_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
LARGE = ((1e9, "G"), (1e6, "M"), (1e4, "k"))


def digits(value: float, figures: int = 3) -> str:
    """Return the value with three significant digits, and all digits before the point: ``1,234``,
    ``12.3``, ``0.0412``.
    """
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size == 0:
        return "0"
    # 1.0005: 9.996 is 10.0
    places = min(max(figures - 1 - math.floor(math.log10(size * 1.0005)), 0), 12)
    return f"{value:,.{places}f}"


def rate(value: float | None) -> str:
    """Return units per second: ``845``, ``1,234``, ``20.1k``, ``1.23M``."""
    if value is None:
        return ""
    scale, suffix = next(((scale, suffix) for scale, suffix in LARGE if value >= scale), (1.0, ""))
    return digits(value / (1e3 if suffix == "k" else scale)) + suffix


def second_unit(values: Iterable[float | None]) -> str:
    """Return one unit (s, ms, µs) for a group of seconds: the largest in which no value is below
    0.1.
    """
    known = [value for value in values if value]
    smallest = min(known, default=1.0)
    return next((unit for unit, scale in SECOND_UNITS if smallest >= 0.1 * scale), "µs")


def seconds(value: float | None, unit: str) -> str:
    """Return seconds in that unit: ``15.6 ms``."""
    return "" if value is None else f"{digits(value / dict(SECOND_UNITS)[unit])} {unit}"


def duration(value: float) -> str:
    """Return a duration: ``12.3 s``, ``2 min 5 s``."""
    whole = round(value)
    return f"{digits(value)} s" if value < 60 else f"{whole // 60} min {whole % 60} s"


def memory(value: int | None) -> str:
    """Return bytes as ``454 MiB``."""
    return "" if value is None else f"{digits(value / 2**20)} MiB"


def ratio(
    value: float | None, low: float | None = None, high: float | None = None, exact: bool = False
) -> str:
    """Return ``1.31x ±2 %`` with an interval (its half width), ``~1.31x`` without one, ``1.00x`` if
    exact.
    """
    if value is None:
        return ""
    times = f"{value:.2f}x" if value < 10 else f"{digits(value)}x"
    if exact:
        return times
    if low is None or high is None or not value:
        return f"~{times}"
    half = (high - low) / 2 / value * 100
    return f"{times} ±{half:.0f} %" if half >= 0.95 else f"{times} ±{half:.1f} %"


def percent(share: float | None) -> str:
    """Return a share in percent: ``23 %``, ``<1 %``, ``1,240 %``."""
    if share is None or not math.isfinite(share):
        return "" if share is None else str(share)
    return "<1 %" if 0 < share < 0.01 else f"{share * 100:,.0f} %"


def fine_percent(share: float) -> str:
    """Return a share in percent to the tenth, for accuracies: ``97.4 %``. 100 % only if it is
    exactly 1.
    """
    return "100 %" if share == 1 else f"{min(share * 100, 99.9):.1f} %"


def error(value: float | None) -> str:
    """Return a relative error: ``3.6e-7``."""
    if value is None or not value or not math.isfinite(value):
        return "" if value is None else digits(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def names(cells: Iterable[str], most: int = 4) -> str:
    """Return a short list of cells: ``a, b, c, d and 12 more``."""
    cells = list(cells)
    more = f" and {len(cells) - most} more" if len(cells) > most else ""
    return ", ".join(cells[:most]) + more


def printable(text: str) -> str:
    """Return the text with control and direction characters written out, so that none affects the
    terminal.
    """
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text.expandtabs(4)
    )
