"""What a run tells while it goes on, against a clock that is set by hand."""

import pytest

from paritygate.core.record import Record, Status
from paritygate.session.progress import WIPE, Progress, Times, duration, rate, summary
from tests.support.fakes import FakeClock


def record(backend, **known):
    return Record(
        cell=f"c-{backend}",
        case="cnn",
        shape="b32",
        device="cpu",
        backend=backend,
        dtype="fp32",
        **{"status": Status.OK, "unit": "image"} | known,
    )


@pytest.fixture
def times(tmp_path):
    return Times(tmp_path / "times.json", "quick", launches=1)


def telling(times, live=True):
    lines, shown, clock = [], [], FakeClock()
    return (
        Progress(lines.append, shown.append if live else None, 40, times, clock),
        lines,
        shown,
        clock,
    )


def test_times_are_kept_for_the_next_run_and_by_budget(tmp_path, times):
    times.note("a", 3.0)
    again = Times(tmp_path / "times.json", "quick", launches=1)
    assert again.estimate(["a", "b"]) == (3.0 + again.guess, 1)
    other = Times(tmp_path / "times.json", "normal", launches=3)
    assert other.estimate(["a"]) == (3 * again.guess, 0)


def test_a_damaged_file_of_times_is_no_times(tmp_path):
    (tmp_path / "times.json").write_text("{")
    assert Times(tmp_path / "times.json", "quick", 1).known == {}


def test_a_group_that_ends_has_a_line_with_its_number_and_the_time_left(times):
    for group, seconds in (("a", 10.0), ("b", 20.0), ("c", 30.0)):
        times.note(group, seconds)
    progress, lines, _, clock = telling(times)
    progress.plan(["a", "b", "c"])
    progress.start("a")
    clock.now = 10.0
    progress.finish("a", [record("eager", throughput=20_100.0)])
    assert lines[-1].startswith("[1/3, ")
    assert lines[-1].endswith("cnn b32  eager 20.1k image/s")
    for group in ("b", "c"):
        progress.start(group)
        progress.finish(group, [record("eager")])
    assert lines[-1].startswith("[3/3, done]")


def test_the_live_line_counts_down_fits_the_terminal_and_is_wiped_before_a_line(times):
    times.note("a", 50.0)
    progress, lines, shown, clock = telling(times)
    progress.plan(["a"])
    progress.start("a")
    clock.now = 20.0
    progress.say("x" * 100)
    assert shown[-1].startswith(f"{WIPE}[1/1, 30 s left] xxx")
    assert len(shown[-1].removeprefix(WIPE)) < 40
    progress.finish("a", [record("eager")])
    assert shown[-1] == WIPE
    assert len(lines) == 1


def test_without_a_terminal_there_is_no_live_line(times):
    progress, lines, shown, _ = telling(times, live=False)
    progress.plan(["a"])
    progress.start("a")
    progress.say("measuring")
    progress.finish("a", [record("eager")])
    assert shown == []
    assert len(lines) == 1


def test_without_a_terminal_a_line_a_minute_says_what_is_done(times):
    progress, lines, _, clock = telling(times, live=False)
    progress.plan(["gate"])
    progress.start("gate")
    for second in range(0, 150, 10):
        clock.now = float(second)
        progress.say(f"launch {second}")
    assert [line.partition("] ")[2] for line in lines] == ["launch 60", "launch 120"]


def test_a_group_is_one_line_of_speeds_ratios_and_failures():
    line = summary(
        [
            record("eager", throughput=431.2, speedup=1.0),
            record("compile", throughput=560.0, speedup=1.3),
            record("onnxruntime", throughput=999.0, speedup=3.119, speedup_low=3.0),
            record("other", status=Status.PARITY_FAILED),
            record("known", status=Status.PARITY_FAILED, facts={"known_gap": "issue 12"}),
            record("checked"),
        ]
    )
    assert line == (
        "cnn b32  eager 431 image/s  compile ~1.30x  onnxruntime 3.12x  other PARITY_FAILED  "
        "known known failure  checked ok"
    )


def test_rates_and_durations_are_short():
    assert [rate(n) for n in (4.31, 431, 20_100, 692_000, 1.5e6, 2e9)] == [
        "4.31",
        "431",
        "20.1k",
        "692k",
        "1.5M",
        "2G",
    ]
    assert [duration(s) for s in (-1, 45, 125, 4200)] == ["0 s", "45 s", "2:05", "1:10:00"]
