"""The doctor: findings from facts (pure), and one real examination of this machine."""

from __future__ import annotations

from typing import Any

import pytest

from bench import doctor, machine, spread
from bench.__main__ import main


def facts(**changes: Any) -> dict[str, Any]:
    good = {
        "cpu": "a processor", "cores": 8, "affinity": 8, "quota": None, "threads": 8, "governor": "performance",
        "turbo": False, "huge_pages": "madvise", "libc": "glibc 2.36",
    }  # fmt: skip
    return good | changes


def got(**changes: Any) -> dict[str, Any]:
    good = {"asked": {"OMP_NUM_THREADS": "8"}, "settings": {"threads": 8}, "kept_by_malloc": True,
            "huge_pages": 64 << 20}  # fmt: skip
    return good | changes


def todo(found: list[doctor.Finding]) -> dict[str, str]:
    return {finding.what: finding.todo for finding in found if finding.todo}


def test_a_good_machine_has_nothing_to_do():
    assert todo(doctor.examine(facts(), got(), 0.1, 0.0)) == {}


@pytest.mark.parametrize(
    ("changes", "what", "advice"),
    [
        ({"governor": "powersave"}, "governor", "cpupower"),
        ({"turbo": True}, "turbo", "clocks"),
        ({"huge_pages": "never"}, "huge pages", "madvise"),
        ({"libc": "musl 1.2"}, "C library", "glibc"),
        ({"quota": 2.0, "threads": 8}, "threads", "quota"),
    ],
)
def test_a_bad_setting_is_named_with_what_to_do(changes, what, advice):
    assert advice in todo(doctor.examine(facts(**changes), got(), 0.1, 0.0))[what]


def test_a_busy_machine_and_a_stolen_one_are_named():
    found = todo(doctor.examine(facts(), got(), 7.5, 0.05))

    assert set(found) == {"load", "steal"}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"kept_by_malloc": False}, "malloc keeps memory"),
        ({"huge_pages": 0}, "tensors on huge pages"),
        ({"settings": {"threads": 1}}, "torch threads"),
    ],
)
def test_what_the_process_did_not_get_is_named(changes, what):
    assert what in todo(doctor.examine(facts(), got(**changes), 0.1, 0.0))


def test_a_cell_that_breaks_the_rule_is_named_with_its_launches():
    small, large = {"laboratory": 0.01, "default": 0.02}, {"laboratory": 0.1, "default": 0.2}
    worse = spread.Spread("c", 5, {"laboratory": 1.1, "default": 1.0}, large, small, 0.1)

    (finding,) = doctor.judge([worse])

    assert finding.what == "c"
    assert "10.0% slower" in finding.todo
    assert "5 launches" in finding.todo


def test_a_finding_wraps_and_marks_what_is_to_do():
    text = str(doctor.Finding("load", "high " * 40, "stop it"))

    assert text.startswith("! load")
    assert "-> stop it" in text
    assert max(map(len, text.splitlines())) <= 100


def test_doctor_shows_what_a_real_process_got(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    main(["doctor", "--launches", "0"])

    printed = capsys.readouterr().out
    assert f"torch threads          {machine.threads()}" in printed
    assert "MALLOC_ARENA_MAX=2" in printed.replace("\n" + " " * 25, " ")
    assert "malloc keeps memory    yes" in printed


def test_one_process_is_no_spread(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--launches", "1"])

    assert ended.value.code == 2
    assert "at least 2" in capsys.readouterr().err
