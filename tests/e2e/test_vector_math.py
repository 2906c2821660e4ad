"""MKL's vector math: a worker's first call is as exact as its later ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import torch

from evidence import first_calls
from paritygate.process import environment
from paritygate.worker import vector_math

ORDER = """
import sys
from paritygate.worker import forkserver, vector_math

order = []
vector_math.preload = lambda: order.append("preloaded")
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "planted":
            order.append("imported")
sys.meta_path.insert(0, Finder())
problem = forkserver.preload(["planted"], [], [])
print(*order, problem)
"""


def test_a_first_call_in_several_threads_is_as_exact_as_later_ones():
    """Without ``preload`` 6 % of the processes differ on a machine that has the fault."""
    assert first_calls.storm(preloaded=True, processes=150) == (0, 0.0)


def test_every_function_that_torch_gives_to_mkl_is_called():
    header = (Path(torch.__file__).parent / "include/ATen/cpu/vml.h").read_text()
    assert set(vector_math.FUNCTIONS) == set(
        re.findall(r"^IMPLEMENT_VML_MKL\((\w+),", header, re.MULTILINE)
    )


def test_a_fork_server_calls_them_before_it_imports_what_is_the_users():
    environ = os.environ | environment.QUIET
    done = subprocess.run(
        [sys.executable, "-c", ORDER], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["preloaded", "imported", "None"]
