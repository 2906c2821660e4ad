"""Load of other processes is told from our own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from paritygate.host.monitor import Watch
from paritygate.host.nvml import Reading

SLEEP = "import time; time.sleep(600)"
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


class Script:
    """A GPU that gives one reading after the other, the last again and again."""

    def __init__(self, *readings):
        self.readings = list(readings)

    def read(self):
        found = self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def grandchild():
    """The pid of a process that a process of ours started, in a session of its own as fork servers
    are.
    """
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    yield pid
    os.kill(pid, 9)
    parent.kill()
    parent.communicate()


def seen(*gpus, looks=0, pids=()):
    watching = Watch(list(pids), gpus)
    for _ in range(looks):
        watching.look()
    return watching.conditions()


def test_processes_of_ours_are_no_strangers(grandchild):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert seen(Script(Reading(processes=(os.getpid(), grandchild, ended.pid)))).gpu_foreign == 0


def test_strangers_are_counted_once(grandchild):
    ancestors = {1, os.getppid()}  # one and the same in some containers
    stranger = Reading(processes=(*ancestors, grandchild))

    assert seen(Script(stranger), Script(stranger), looks=3).gpu_foreign == len(ancestors)
    assert seen(Script(stranger), pids=[os.getppid()]).gpu_foreign == len(ancestors) - 1, (
        "told by their pid, too"
    )
