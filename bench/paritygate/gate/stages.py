"""The stages of a gate: the cells of the next launch pair, and at the end the verdicts. Pure.

All cells go through stage 1 together, one launch pair at a time. The cells that it does not clear
go through stage 2 together, with fresh launches. So all open cells have the same number of
launches, and the launches of one cell are spread over the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from paritygate.core.reasons import counted
from paritygate.core.record import Verdict
from paritygate.gate import verdict
from paritygate.gate.gross import gross, within_limit
from paritygate.gate.request import Margins
from paritygate.gate.verdict import Confirmation, Decided, Screened


@dataclass(frozen=True)
class Pair:
    """The result of one launch pair for one cell. ``d``: ln(head/base). ``within``: its standard
    error.
    """

    d: float
    within: float


class Course:
    """The two stages for some cells. Ask ``wanted`` for the next cells, pass their numbers to
    ``note``. ``verdicts`` works at any time. ``accepted``: cell -> its accepted slowdown, as a share.
    """

    def __init__(
        self,
        cells: Sequence[str],
        margins: Margins,
        accepted: Mapping[str, float] | None = None,
    ) -> None:
        self.margins = margins
        self._accepted = accepted or {}
        self.screened: dict[str, list[Pair]] = {cell: [] for cell in cells}
        self.confirmed: dict[str, list[Pair]] = {}
        self.broken: dict[str, str] = {}
        self._gross: dict[str, Verdict] = {}
        self._screening = list(cells)
        self._routed: list[str] = []
        self._confirmation: Confirmation | None = None

    @property
    def stage(self) -> int:
        """1 while screening, then 2."""
        return 1 if self._confirmation is None else 2

    def wanted(self) -> list[str]:
        """Return the cells that the next launch pair must hold, or none if all are decided."""
        if self._confirmation is None:
            return [*self._screening]
        if self._confirmation.exhausted:
            return []
        return self._confirmation.open

    def drop(self, cell: str, reason: str) -> None:
        """Remove a cell that failed on one side or cannot be compared."""
        self.broken[cell] = reason
        if cell in self._screening:
            self._screening.remove(cell)
        if cell in self._routed:
            self._routed.remove(cell)
        if self._confirmation is not None:
            self._confirmation.drop(cell, reason)
        self._advance()

    def note(self, found: Mapping[str, Pair]) -> None:
        """Add the numbers of a launch pair. Raises ``ValueError`` if its cells are not exactly the
        wanted ones.
        """
        if set(found) != set(self.wanted()):
            raise ValueError(
                f"a launch pair must hold {self.wanted()}, this one holds {list(found)}"
            )
        if self._confirmation is None:
            for cell, pair in found.items():
                self.screened[cell].append(pair)
            self._screen()
        else:
            for cell, pair in found.items():
                self.confirmed[cell].append(pair)
            self._confirmation.look({cell: _d(pairs) for cell, pairs in self.confirmed.items()})
        self._advance()

    def verdicts(self) -> dict[str, Decided]:
        """Return the verdict of every cell that was launched and not dropped. A cell that is still
        open is inconclusive.
        """
        others = self._shared()
        launched = [
            cell for cell, pairs in self.screened.items() if pairs and cell not in self.broken
        ]
        found = {cell: self._decided(cell, others) for cell in launched}
        return found | self._unstable(found)

    def evidence(self, cell: str) -> list[float]:
        """Return D of the launch pairs that a cell's verdict is based on: those of stage 2, if it
        got there.
        """
        return _d(self.confirmed.get(cell) or self.screened[cell])

    def _screen(self) -> None:
        if not self._screening:
            return
        every = [_d(pairs) for pairs in self.screened.values() if pairs]
        waiting = {cell: _d(self.screened[cell]) for cell in self._screening}
        self._gross |= gross(waiting, every, self.margins, self._accepted)
        self._screening = [cell for cell in self._screening if cell not in self._gross]
        if not self._screening:
            return
        d = np.array([waiting[cell] for cell in self._screening])
        outcome = verdict.screen(d, self.margins, self._shared())
        self._routed += [
            cell for cell, o in zip(self._screening, outcome, strict=True) if o == Screened.ROUTED
        ]
        self._screening = [
            cell for cell, o in zip(self._screening, outcome, strict=True) if o == Screened.MORE
        ]

    def _shared(self) -> verdict.Shared:
        """Return the spread that the cells have in common, from the launch pairs of stage 1."""
        return verdict.shared([_d(pairs) for pairs in self.screened.values() if len(pairs) > 1])

    def _advance(self) -> None:
        if self._confirmation is None and not self._screening and self._routed:
            self._confirmation = Confirmation(self._routed, self.margins)
            self.confirmed = {cell: [] for cell in self._routed}

    def _decided(self, cell: str, others: verdict.Shared) -> Decided:
        family = len(self.confirmed) or 1
        d = self.evidence(cell)
        if self.confirmed.get(cell):
            others = verdict.ALONE
        estimate = verdict.estimate(d, others)
        seen = float("inf")
        if len(d) > 1:
            sd = float(np.sqrt(others.moderate(estimate.sd**2, len(d))[0]))
            seen = verdict.detectable(sd, self.margins, family)
        if (large := self._gross.get(cell)) is not None:
            word = "slower" if large is Verdict.REGRESSED else "faster"
            nearest = min(d, key=abs)
            reason = f"{word} in each of {len(d)} launch pairs, by {abs(math.expm1(nearest)):.0%} or more"
            return Decided(large, reason, within_limit(estimate, d), math.inf, gross=True)
        if self._confirmation is not None and cell in self._confirmation.decided:
            what, reason = self._confirmation.decided[cell]
        elif cell in self._routed or cell in self._screening:
            what, pairs = Verdict.INCONCLUSIVE, counted(len(d), "launch pair")
            if self._confirmation is not None and self._confirmation.exhausted:
                reason = f"{pairs} do not decide; a slowdown of {seen:.1%} would have been found"
            else:
                seen = math.inf
                reason = f"the time was up after {pairs}; a longer --bench-limit may decide it"
        else:
            what, reason = Verdict.SAME, f"any change is below {self.margins.caught:.0%}"
        return Decided(what, reason, estimate, seen)

    def _unstable(self, found: Mapping[str, Decided]) -> dict[str, Decided]:
        """Return the routed cells in which head has a slow mode that base never showed.

        Only cells that the means leave *inconclusive* or *same* are looked at.
        """
        modes = {}
        for cell, pairs in self.confirmed.items():
            if (
                cell in found
                and found[cell].verdict in (Verdict.INCONCLUSIVE, Verdict.SAME)
                and pairs
            ):
                within = float(np.median([pair.within for pair in pairs]))
                modes[cell] = verdict.slow_modes(_d(pairs), within, self.margins)
        p = dict.fromkeys(self.confirmed, 1.0)
        for cell, (head, base, _) in modes.items():
            if base == 0:
                p[cell] = verdict.p_unstable(head, base, len(self.confirmed[cell]))
        level = self.margins.alpha * verdict.MODE_SHARE
        changed = {}
        for cell in verdict.holm(p, level) if p else ():
            head, _, size = modes[cell]
            n = len(self.confirmed[cell])
            reason = (
                f"head was {size:.0%} slower in {head} of {n} launches, base never: "
                f"a slow mode (p = {p[cell]:.1g})"
            )
            changed[cell] = Decided(
                Verdict.UNSTABLE, reason, found[cell].estimate, found[cell].detectable
            )
        return changed


def _d(pairs: Sequence[Pair]) -> list[float]:
    return [pair.d for pair in pairs]
