"""What GitHub Actions is told: at most nine annotations, worst first, and a summary that it
takes.
"""

from __future__ import annotations

from dataclasses import replace

from paritygate.core.record import Record, Run, Status
from paritygate_reports.renderers import github

RUN = Run("1", "2026-01-01T00:00:00+00:00", "quick", True, 0)
OK = Record("a-b8-cpu-eager-fp32", "a", "b8", "cpu", "eager", "fp32", Status.OK)
SLOWER = replace(
    OK, verdict="regressed", verdict_reason="slower", effect=0.1, effect_low=0.08, effect_high=0.12
)


def test_a_green_run_says_nothing():
    assert not list(github.commands(RUN, [OK, replace(OK, verdict="same")]))


def test_regressions_come_before_failures_and_are_named():
    failed = replace(
        OK, cell="c-b8-cpu-eager-fp32", status=Status.CRASHED, reason="killed by SIGSEGV"
    )
    first, second = github.commands(RUN, [failed, SLOWER])

    assert first.startswith("::error title=regressed%3A a-b8-cpu-eager-fp32::regressed")
    assert "+10.0% (+8.0% to +12.0%)" in first.replace("%25", "%")
    assert second == "::error title=crashed%3A c-b8-cpu-eager-fp32::killed by SIGSEGV"


def test_nine_at_most_and_the_last_counts_the_rest():
    many = [replace(SLOWER, cell=f"a-b{n}-cpu-eager-fp32") for n in range(30)]
    found = list(github.commands(RUN, many))

    assert len(found) == 9
    assert "22 more failures" in found[-1]


def test_an_invalid_run_and_missing_cells_are_errors():
    run = replace(
        RUN, environment={"gate": {"invalid": ["side bias"], "missing": ["x-b1-cpu-eager-fp32"]}}
    )

    assert [
        "side bias" in line or "missing: x-b1" in line for line in github.commands(run, [OK])
    ] == [True, True]


def test_foreign_text_cannot_begin_a_command_of_its_own():
    hostile = replace(
        OK,
        cell="a::b,c\n::warning::x",
        status=Status.FAILED,
        reason="100%\r\n::set-output name=x::y",
    )
    (line,) = github.commands(RUN, [hostile])

    assert "\n" not in line
    assert "\r" not in line
    assert line.startswith("::error title=failed%3A a%3A%3Ab%2Cc%0A%3A%3Awarning%3A%3Ax::100%25")


def test_the_summary_is_appended_and_cut_before_githubs_limit(tmp_path):
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    github.write_summary({"GITHUB_STEP_SUMMARY": str(path)}, RUN, [SLOWER], ())
    assert path.read_text().startswith("before\n## paritygate: not ok")

    many = [
        replace(SLOWER, cell=f"a-b{n}-cpu-eager-fp32", findings=["x" * 2000]) for n in range(1000)
    ]
    path.write_text("")
    github.write_summary({"GITHUB_STEP_SUMMARY": str(path)}, RUN, many, ())
    assert 900_000 < path.stat().st_size <= github.SUMMARY_BYTES
    assert "Cut here" in path.read_text()
