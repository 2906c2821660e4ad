"""A launch of the gate over fake sides: who is measured, how often, and what counts."""

from __future__ import annotations

import math
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from paritygate.core.case import Case, Target, cell_of
from paritygate.gate import runner
from paritygate.gate.launch_pair import Measured
from paritygate.gate.request import PROFILES
from paritygate.gate.runner import GateRun
from paritygate.gate.sides import Side, Sides
from paritygate.gate.stages import Course
from paritygate.timing.diagnostics import Conditions

SIZES = {"batch": 8}


class Laboratory:
    """Starts nothing."""

    hash_seed = None

    def __init__(self):
        self.servers = {}

    def server(self, launch):
        self.servers[launch] = "started"

    def close(self):
        self.servers.clear()


class Places:
    def fill(self, order, trees):
        return [Path(str(slot)) for slot in order]

    def path(self, slot):
        return [str(slot)]

    def stands_for(self, slot):
        return {}

    def watched(self, slot):
        return []

    def strangers(self, modules, slot):
        return []


@pytest.fixture
def gate(monkeypatch):
    """A gate over two cells whose pairs are played: (cell, level, D) in turn."""
    case = Case("a", model="m:M", inputs="m:i", shapes={"b8": SIZES, "b9": SIZES})
    target = Target("cpu", "eager", "fp32")
    cells = [cell_of(case, shape, target) for shape in case.all_shapes()]
    run = GateRun(
        Sides(
            Side(Path(), Laboratory()),
            Side(Path(), Laboratory()),
            None,
            Places(),
            random.Random(0),
        ),
        cells=cells,
        margins=PROFILES["normal"],
        limit=100.0,
        planted={},
    )
    run.played = {cell.id: [] for cell in cells}
    run.asked = []

    def measure(cell, other):
        run.asked.append(cell.id)
        level, d = run.played[cell.id].pop(0)
        base = [math.exp(level - d / 2)] * 2
        return Measured(
            quads=[d] * 4, orders=["ABBA"] * 4, base=base, head=[b * math.exp(d) for b in base]
        )

    monkeypatch.setattr(run, "_measure", measure)
    # the machine of the test may be disturbed, the played one is not
    monkeypatch.setattr(runner, "Watch", lambda *_: SimpleNamespace(conditions=Conditions))
    return run


def test_a_disturbed_pair_is_measured_again_at_the_end_and_the_calmer_counts(gate):
    a, b = gate.played
    gate.played[a] = [(0.0, 0.001), (0.3, 0.05), (0.01, 0.002)]
    gate.played[b] = [(0.0, 0.0), (0.0, 0.0)]
    gate._launch()
    gate._launch()

    assert sorted(gate.asked[:2]) == sorted([a, b])
    assert gate.asked[2:] in ([a, b, a], [b, a, a])
    assert [pair.d for pair in gate.course.screened[a]] == pytest.approx([0.001, 0.002])
    assert gate.disturbances.repeated == 1
    assert gate.result.cost[a] > 0


def test_a_second_pair_that_is_no_calmer_does_not_replace_the_first(gate):
    a, b = gate.played
    gate.played[a] = [(0.0, 0.001), (0.3, 0.003), (0.4, 0.05)]
    gate.played[b] = [(0.0, 0.0), (0.0, 0.0)]
    gate._launch()
    gate._launch()

    assert [pair.d for pair in gate.course.screened[a]] == pytest.approx([0.001, 0.003])


@pytest.fixture
def controlled(gate, monkeypatch):
    """The gate with the first cell as a control, which takes more launch pairs than a gross change
    does.
    """
    rng, measure = random.Random(1), gate._measure

    def played(cell, other):
        control = other is gate.sides.twin
        d = rng.gauss(0.0, 0.03) if control else rng.gauss(gate.slower, 0.003)
        gate.played[cell.id] = [(0.0, d)]
        return measure(cell, other)

    monkeypatch.setattr(gate, "_measure", played)
    gate.sides.twin = Side(Path(), Laboratory())
    gate.controls = Course([next(iter(gate.played))], PROFILES["normal"])
    for step in ("_prepare", "_explain"):
        monkeypatch.setattr(gate, step, lambda: None)
    return gate


def test_controls_alone_do_not_keep_a_run_going(controlled):
    """Both cells are decided by two launch pairs."""
    controlled.slower = 0.5
    result = controlled.run()

    assert {found.verdict for found in result.decided.values()} == {"regressed"}
    assert len(result.launches) == 2
    assert controlled.controls.wanted()


def test_a_control_in_doubt_is_decided_before_a_red_verdict_that_rests_on_it(controlled):
    controlled.slower = 0.08
    result = controlled.run()

    assert {found.verdict for found in result.decided.values()} == {"regressed"}
    assert len(result.launches) > max(found.estimate.launches for found in result.decided.values())
    assert not controlled.controls.wanted()


class Opened:
    """A cell that is asked to open, and whose worker is asked to keep its answers."""

    def __init__(self, log, name):
        self.log, self.name = log, name

    def open(self, launch, keep, again):
        self.log.append((self.name, "again" if again else "first"))
        self.worker = SimpleNamespace(
            ask=lambda request, deadline: self.log.append((self.name, "keeps")), park=lambda: None
        )


def test_the_twin_checks_itself_until_base_has_kept_answers_and_keeps_none(gate):
    """They share a folder, and may open at once."""
    (cell, *_), log = gate.cells.values(), []
    gate.sides.twin = Side(Path(), Laboratory())
    for name, side in (("base", gate.base), ("twin", gate.sides.twin)):
        side.cells[cell.id] = Opened(log, name)
    for side in (gate.sides.twin, gate.base, gate.sides.twin, gate.base):
        gate._open(side, cell)

    assert log == [
        ("twin", "first"),
        ("base", "first"),
        ("base", "keeps"),
        ("twin", "again"),
        ("base", "again"),
    ]


def test_what_a_gpu_suffered_is_a_warning_of_the_run_told_once(gate, monkeypatch):
    measure = gate._measure

    def held(cell, other):
        found = measure(cell, other)
        found.held = ("SwPowerCap",)
        return found

    monkeypatch.setattr(gate, "_measure", held)
    for cell in gate.played:
        gate.played[cell] = [(0.0, 0.0)] * 3
    gate._launch()
    gate._launch()
    gate._launch()
    gate._conclude()

    (warning,) = [line for line in gate.result.warnings if "GPU" in line]
    assert warning.startswith("GPU throttled: SwPowerCap lowered its clock")


@pytest.mark.parametrize("exists", [True, False])
def test_base_gets_a_reference_wherever_head_has_one(gate, monkeypatch, exists):
    """Also where head's worker fell while it exported one backend: it names no sources then."""
    asked = []
    monkeypatch.setattr(runner, "make_reference", lambda *given, **_: asked.append(given) or exists)
    for laboratory in (gate.head.laboratory, gate.base.laboratory):
        laboratory.scratch = Path()
    gate._reference(list(gate.cells.values())[:1])

    assert len(asked) == (2 if exists else 1)
