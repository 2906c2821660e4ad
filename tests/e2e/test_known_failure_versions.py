"""Known failures that hold for versions of packages, in a user's own project."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version


def test_versions_are_read_without_importing_the_package():
    code = (
        "import sys; from paritygate.core.case import Case, Target;"
        "case = Case('one', model='m:Net', inputs='m:inputs', shapes={'b1': {'batch': 1}},"
        " known_failures={'torch>=2': 'issue 12'});"
        "assert case.known_failure(Target('cpu', 'compile', 'fp32'));"
        "assert 'torch' not in sys.modules"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environ)


SUITE = """
    CASES = (Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={{"b8": {{"batch": 8}}}},
                  known_failures={{"off; torch{0}": "issue 12", "eager; torch{0}": "issue 11"}}),)
"""


def test_within_the_versions_a_failure_is_expected_and_its_end_told_outside_both_are_ordinary(
    project,
):
    project.backend("off", "tensor + 1")
    project.suite(SUITE.format(">=2"))
    here = f"here torch {version('torch')})"
    run = ("-rx", "--benchmark-disable", "-k", "parity")
    result = project.run(*run, targets="cpu-eager-fp32,cpu-off-fp32")
    result.assert_outcomes(passed=1, xfailed=1)
    result.stdout.fnmatch_lines(
        [
            "fixed, remove from known_failures",
            f'*one-b8-cpu-eager-fp32: issue 11 ("eager; torch>=2", {here}',
            f'XFAIL*one-b8-cpu-off-fp32*known failure: issue 12 ("off; torch>=2", {here}*',
        ]
    )
    assert result.ret == 0

    project.suite(SUITE.format("<2"))
    result = project.run(*run, targets="cpu-eager-fp32,cpu-off-fp32")
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == 10
    result.stdout.no_fnmatch_line("*fixed, remove*")
