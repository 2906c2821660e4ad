"""Only one run of a machine measures at a time, and a waiting one says for whom it waits."""

import os
import stat
import subprocess
import sys
import threading

from paritygate.host import lock
from paritygate.host.lock import timing_lock
from tests.support.paths import ROOT

HOLDER = """
import sys, time
from pathlib import Path
from paritygate.host import lock
from paritygate.host.lock import timing_lock
with timing_lock(print, Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_waits_says_for_whom_and_goes_on_when_the_first_dies(tmp_path):
    path = tmp_path / "lock"
    first = holder(path)
    heard, entered = [], threading.Event()
    told = threading.Event()

    waited = []

    def wait():
        with timing_lock(lambda text: (heard.append(text), told.set()), path) as seconds:
            waited.append(seconds)
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        assert told.wait(30)
        assert heard == [f"another run measures on this machine (pid {first.pid}); waiting for it"]
        assert not entered.wait(0.3)
    finally:
        first.kill()
        first.wait()
        first.stdout.close()
    assert entered.wait(30), "a killed holder holds nothing"
    waiting.join()
    assert len(heard) == 1, "told again only after a minute"
    assert waited[0] > 0.3


def test_a_line_a_minute_says_how_long_it_has_waited(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    monkeypatch.setattr(lock, "AGAIN", 0.75)
    first, heard = holder(path), []

    def end_it(text):
        heard.append(text)
        if len(heard) == 3:
            first.kill()

    with timing_lock(end_it, path), first:
        pass
    first.stdout.close()
    assert [text.partition("waiting for it")[2] for text in heard] == [
        "",
        ", for 1 s so far",
        ", for 2 s so far",
    ]


def test_a_free_lock_is_taken_in_silence_given_back_and_bears_the_holders_pid(tmp_path):
    path = tmp_path / "lock"
    for _ in range(2):
        with timing_lock(lambda text: 1 / 0, path) as waited:
            assert waited == 0
            assert path.read_text() == str(os.getpid())


def test_other_users_may_open_the_lock_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        with timing_lock(print, tmp_path / "lock"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o666
