"""Draw the conclusions of a gate's launches: verdicts, findings, and whether the run is valid."""

from __future__ import annotations

from statistics import fmean

from paritygate.gate import findings, validity
from paritygate.gate.quads import ORDERS
from paritygate.gate.sides import Result
from paritygate.gate.stages import Course


def conclude(result: Result, course: Course, controls: Course) -> None:
    """Complete the result with the conclusions from its launches."""
    result.decided = course.verdicts()
    result.d = {name: course.evidence(name) for name in result.decided}
    for name in result.decided:
        mine = [launch[name] for launch in map(dict, result.launches) if name in launch]
        lines = (
            findings.changed_peak(result.peaks.get(name, ())),
            findings.changed_clock([m.clock for m in mine], [m.cycles for m in mine]),
        )
        for line in filter(None, lines):
            result.certain[name].found.append(line)
    result.controls = controls.verdicts()
    d = {name: [pair.d for pair in controls.screened[name]] for name in result.controls}
    result.invalid += validity.problems(result.controls, d)
    quads: dict[tuple[str, str], list[float]] = {}
    for name, found in (entry for launch in result.launches for entry in launch):
        for order, value in zip(found.orders, found.quads, strict=True):
            quads.setdefault((name, order), []).append(value)
    measured = {name for name, pairs in course.screened.items() if pairs}
    both = [name for name in measured if all((name, order) in quads for order in ORDERS)]
    abba, baab = ([fmean(quads[name, order]) for name in both] for order in ORDERS)
    series = [[pair.d for pair in pairs] for pairs in course.screened.values() if len(pairs) > 1]
    result.warnings += validity.warnings(abba, baab, series)
