"""One run over groups that are played: when a group is opened, timed and closed, and when a record
is handed on.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from paritygate.backends import BACKENDS
from paritygate.core.budgets import BUDGETS
from paritygate.core.case import Case, Target, cell_of
from paritygate.core.record import End, Speed, Status
from paritygate.session import records
from paritygate.session import run as module
from paritygate.session.matrix import Matrix
from paritygate.session.options import Options
from paritygate.session.run import MatrixRun, Plan

EAGER, TWIN = Target("cpu", "eager", "fp32"), Target("cpu", "twin", "fp32")
OPTIONS = Options([EAGER], BUDGETS["quick"], True, 0, None, BACKENDS | {"twin": BACKENDS["eager"]})


def cell(name, target=EAGER, **more):
    case = Case(
        name, model="m:M", inputs="m:i", shapes={"b8": {"batch": 8}}, targets=("*",), **more
    )
    return cell_of(case, case.all_shapes()[0], target)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A run whose steps are in ``steps``; ``ends`` says how cells end, ``None``: interrupted."""
    steps, ends = [], {}

    class Group:
        def __init__(self, laboratory, cells, timed):
            self.cells, self.group, self.was_timed, self.records = cells, cells[0].group, False, {}
            self.reference = SimpleNamespace(folder=tmp_path / "none")

        def open(self):
            steps.append(f"open {self.group.case}")
            for one in self.cells:
                if (end := ends.get(one.id, Status.OK)) is None:
                    raise KeyboardInterrupt
                self.records[one.id] = records.ended(one, End(end))

        def time(self):
            self.was_timed = True
            steps.append(f"time {self.group.case}")
            speed = Speed(throughput=1.0)
            self.records = {name: one.joined(speed) for name, one in self.records.items()}

        def close(self):
            steps.append(f"close {self.group.case}")

    def emit(record):
        speed = " with a speed" if record.measured else ""
        steps.append(f"emit {record.case} {record.backend} {record.status}{speed}")

    monkeypatch.setattr(module, "GroupRun", Group)
    monkeypatch.setattr(module.MatrixRun, "laboratory", SimpleNamespace())
    monkeypatch.setattr(
        module.MatrixRun, "_calibrate", lambda self: steps.append("calibrate") or {}
    )
    quiet = SimpleNamespace(
        plan=lambda groups: steps.append(f"plan {len(groups)}"),
        start=str,
        finish=lambda group, known: None,
        wipe=lambda: None,
    )
    made = MatrixRun(Matrix(OPTIONS), lambda: tmp_path, quiet, emit)
    made.steps, made.ends = steps, ends
    return made


def test_one_group_is_open_at_a_time_and_each_record_is_handed_on_once(run):
    a, b = cell("a"), cell("b")
    run.begin(Plan.of([a, b], [a], []))

    run.checked(a)
    run.checked(a)
    assert run.measured(a) is run.measured(a)
    run.checked(b)
    run.close()

    assert run.steps == [
        "plan 2",
        "open a",
        "calibrate",
        "time a",
        "emit a eager ok with a speed",
        "close a",
        "open b",
        "emit b eager ok",
        "close b",
    ]


def test_the_machine_is_calibrated_once_a_run(run):
    cells = [cell("a"), cell("b")]
    run.begin(Plan.of(cells, cells, []))

    for one in cells:
        run.measured(one)

    assert run.steps.count("calibrate") == 1


def test_what_will_not_be_timed_is_handed_on_when_it_is_known(run):
    one, other = cell("a"), cell("a", TWIN)
    run.ends[other.id] = Status.CRASHED
    run.begin(Plan.of([one, other], [one, other], []))

    run.checked(one)

    assert run.steps == ["plan 1", "open a", "emit a twin crashed"]


def test_a_cell_that_cannot_run_here_opens_nothing(run):
    skipped = cell("a", skips={"*": "not here"})
    run.begin(Plan.of([skipped], [], []))

    assert run.checked(skipped).reason == "not here"
    assert run.steps == ["plan 0", "emit a eager skipped"]


def test_what_was_known_when_it_was_interrupted_is_kept_and_nothing_is_made_up(run):
    one, other = cell("a"), cell("a", TWIN)
    run.ends[other.id] = None
    run.begin(Plan.of([one, other], [one], []))

    with pytest.raises(KeyboardInterrupt):
        run.checked(one)
    run.close(at_once=True)

    assert run.steps == ["plan 1", "open a", "close a", "emit a eager ok"]
    assert other.id not in run.records


def test_a_cell_that_waits_for_a_verdict_is_handed_on_at_the_end_if_none_came(run):
    one = cell("a")
    run.begin(Plan.of([one], [], [one]))

    run.checked(one)
    run.close_group()
    assert run.steps == ["plan 2", "open a", "close a"]
    run.close()
    assert run.steps[-1] == "emit a eager ok"
