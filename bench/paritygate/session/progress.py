"""Progress: show what is prepared or measured, how far it is, and how long it will still take.

Each group gets one line. A terminal also gets a live line, which is wiped before anything else is
written.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from paritygate.core.record import Record, Status

GUESS_SECONDS = 5.0  # for each launch of a group without a stored time
WIPE = "\r\x1b[2K"
SILENCE = 60.0  # seconds; after them a run without a terminal says what it is doing


class Times:
    """The time that each group took last, kept in a small file. Runs can be estimated without any
    import.
    """

    def __init__(self, path: Path, budget: str, launches: int) -> None:
        self.path, self.budget, self.guess = path, budget, GUESS_SECONDS * launches
        try:
            self.known: dict[str, float] = json.loads(path.read_text())
        except (OSError, ValueError):
            self.known = {}

    def estimate(self, groups: Sequence[str]) -> tuple[float, int]:
        """Return (estimated seconds, number of groups whose time is known)."""
        known = [self.known.get(f"{self.budget} {group}") for group in groups]
        return sum(self.guess if seconds is None else seconds for seconds in known), sum(
            seconds is not None for seconds in known
        )

    def note(self, group: str, seconds: float) -> None:
        """Store a group's time, and write the file at once."""
        self.known[f"{self.budget} {group}"] = round(seconds, 2)
        with suppress(OSError):
            self.path.write_text(json.dumps(self.known, indent=0, sort_keys=True))


class Progress:
    """Reports the progress of one run.

    ``line`` writes a line of its own. ``live`` writes to the raw terminal; it is None without a
    terminal.
    """

    def __init__(
        self,
        line: Callable[[str], object],
        live: Callable[[str], object] | None,
        width: int,
        times: Times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line, self._live, self._width = line, live, width
        self.times, self._clock = times, clock
        self.waiting: list[str] = []
        self._total, self._done = 0, 0
        self._started = self._last_line = clock()
        self._shown = False

    def plan(self, groups: Sequence[str]) -> None:
        """Set the groups to come."""
        self.waiting, self._total = list(groups), len(groups)

    def start(self, group: str) -> None:
        """Note that a group is opened."""
        self._started = self._clock()
        if group in self.waiting:
            self.waiting.remove(group)
        self._current = group

    def say(self, what: str) -> None:
        """Show the current work: on a terminal always, else as a line of its own once a minute."""
        if self._live is None and self._clock() - self._last_line < SILENCE:
            return
        text = f"[{self._done + 1}/{self._total}, {self._left()}] {what}"
        if self._live is None:
            self._write(text)
        else:
            self._live(f"{WIPE}{text[: self._width - 1]}")
            self._shown = True

    def tell(self, what: str) -> None:
        """Write a line of its own, also without a terminal."""
        self.wipe()
        self._write(what)

    def wipe(self) -> None:
        """Remove the live line."""
        if self._shown and self._live is not None:
            self._live(WIPE)
            self._shown = False

    def finish(self, group: str, records: Sequence[Record]) -> None:
        """Close a group: write its line, and store its time for the next estimate."""
        self._done += 1
        self.wipe()
        if records:  # no records: the group was interrupted before its first result
            self.times.note(group, self._clock() - self._started)
            self._write(
                f"[{self._done:>{len(str(self._total))}}/{self._total}, {self._left()}] {summary(records)}"
            )

    def _write(self, text: str) -> None:
        self._last_line = self._clock()
        self._line(text)

    def _left(self) -> str:
        seconds, _ = self.times.estimate(
            [self._current, *self.waiting] if self._done < self._total else self.waiting
        )
        if self._done < self._total:
            seconds -= min(self._clock() - self._started, self.times.estimate([self._current])[0])
        return f"{duration(seconds)} left" if self.waiting or self._done < self._total else "done"


def summary(records: Sequence[Record]) -> str:
    """Return the line of a group, from its records.

    Example: ``cnn_digits b32  eager 20.1k image/s  compile ~1.3x  onnxruntime ~3.1x``.
    """
    first = records[0]
    if verdicts := Counter(record.verdict for record in records if record.verdict):
        return "gate  " + ", ".join(
            f"{count} {verdict.replace('_', ' ')}" for verdict, count in verdicts.most_common()
        )
    return f"{first.case} {first.shape}  " + "  ".join(_short(record) for record in records)


def _short(record: Record) -> str:
    if record.known_failure:
        return f"{record.backend} known failure"
    if record.status is not Status.OK:
        return f"{record.backend} {str(record.status).upper()}"
    if not record.measured:
        return f"{record.backend} ok"
    if record.backend == "eager" or record.speedup is None:
        return f"{record.backend} {rate(record.throughput or 0)} {record.unit}/s"
    mark = "~" if record.speedup_low is None else ""
    return f"{record.backend} {mark}{record.speedup:.2f}x"


def rate(per_second: float) -> str:
    """Return a number with three digits and a letter: ``692k``, ``20.1k``, ``431``."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if per_second >= limit:
            return f"{per_second / limit:.3g}{letter}"
    return f"{per_second:.3g}"


def duration(seconds: float) -> str:
    """Return a duration: ``45 s``, ``2:05``, ``1:10:00``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return (
        f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
    )
