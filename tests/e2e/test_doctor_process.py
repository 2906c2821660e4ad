"""The doctor shows what a real measuring process got."""

from __future__ import annotations

from paritygate.__main__ import main
from paritygate.host import machine


def test_doctor_shows_what_a_real_process_got(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    main(["doctor", "--launches", "0"])

    printed = capsys.readouterr().out
    assert f"torch threads          {machine.threads()}" in printed
    assert "MALLOC_ARENA_MAX=2" in printed.replace("\n" + " " * 25, " ")
    assert "malloc keeps memory    yes" in printed
