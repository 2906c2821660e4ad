"""Load of other processes is told from our own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from paritygate.host.nvml import Reading
from tests.support.fakes import FakeGpuReader, watched

SLEEP = "import time; time.sleep(600)"
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


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


def test_processes_of_ours_are_no_strangers(grandchild):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert (
        watched(FakeGpuReader(Reading(processes=(os.getpid(), grandchild, ended.pid)))).gpu_foreign
        == 0
    )


def test_strangers_are_counted_once(grandchild):
    ancestors = {1, os.getppid()}  # one and the same in some containers
    stranger = Reading(processes=(*ancestors, grandchild))

    assert watched(FakeGpuReader(stranger), FakeGpuReader(stranger), looks=3).gpu_foreign == len(
        ancestors
    )
    assert (
        watched(FakeGpuReader(stranger), pids=[os.getppid()]).gpu_foreign == len(ancestors) - 1
    ), "told by their pid, too"
