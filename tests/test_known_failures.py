"""Known failures bound to versions of packages: where they hold, where a cell is an ordinary one,
and what a key must look like.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from paritygate.core import known_failures
from paritygate.core.case import Case, DeclarationError, Target

TARGET = Target("cpu", "compile", "fp32")
INSTALLED = {"torch": "2.14.1+cpu", "onnx": "1.20.0", "nightly": "2.15.0.dev20261101"}


def case(**failures):
    return Case("one", model="m:Net", inputs="m:inputs", shapes={"b1": {"batch": 1}}, **failures)


@pytest.fixture
def _installed(monkeypatch):
    monkeypatch.setattr(known_failures, "installed", INSTALLED.get)


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    ("key", "holds"),
    [
        ("compile", True),
        ("eager", False),
        ("torch>=2.13", True),
        ("torch >= 2.13, < 2.15", True),
        ("torch==2.14.1", True),
        ("torch==2.14.*", True),
        ("torch!=2.14.1", False),
        ("torch<2.14", False),
        ("cpu-compile*-*; torch>=2.13", True),
        ("cpu-compile*-*;torch<2.14", False),
        ("cuda-*; torch>=2.13", False),
        ("torch>=2.13; cpu-*", True),
        ("compile; torch>=2.13; onnx<1.21", True),
        ("compile; torch>=2.13; onnx<1.20", False),
        ("absent>=1", False),
        ("nightly<2.15", False),
        ("nightly<2.16", True),
    ],
)
def test_a_key_holds_for_its_targets_and_its_versions(key, holds):
    found = case(known_failures={key: "issue 12"}).known_failure(TARGET)
    assert (found is not None) == holds


@pytest.mark.usefixtures("_installed")
def test_the_reason_names_the_key_and_what_is_installed():
    both = {
        "compile; torch<2.14": "issue 11",
        "compile; torch>=2.14; onnx>=1": "issue 12",
        "compile": "issue 13",
    }
    assert case(known_failures=both).known_failure(TARGET) == (
        'issue 12 ("compile; torch>=2.14; onnx>=1", here torch 2.14.1+cpu, onnx 1.20.0)'
    )
    assert case(known_failures={"cpu": "issue 13"}).known_failure(TARGET) == "issue 13"


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("torch=>2.13", "'torch=>2.13' is no package with its versions"),
        ("compile; torch>=two", "'torch>=two' is no package with its versions"),
        (">=2.13", "'>=2.13' is no package with its versions"),
        ("torch[opt]>=2.13", "'torch[opt]>=2.13' is no package with its versions"),
        ("cpu-*; cuda-*", "cpu-* and cuda-* are two targets"),
        ("compile; torch", "compile and torch are two targets"),
        ("compile;", "a part is empty"),
        ("", "a part is empty"),
    ],
)
def test_a_bad_key_is_refused_where_it_is_declared(key, wrong):
    with pytest.raises(DeclarationError) as refused:
        case(known_failures={key: "issue 12"})
    assert str(refused.value) == (
        f"case one: known_failures key {key!r}: {wrong}; write a target, versions, or both, e.g. "
        '"cpu-compile-*; torch>=2.13,<2.15"'
    )


def test_known_failures_are_a_dict():
    with pytest.raises(DeclarationError, match=r"^case one: known_failures is a dict"):
        case(known_failures=("torch>=2.13",))


def test_packages_are_found_by_their_name_or_by_what_is_imported():
    assert known_failures.installed("pytest") == version("pytest")
    assert known_failures.installed("sklearn") == version("scikit-learn")
    assert known_failures.installed("no-such-package") is None


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
            "gap closed, remove it",
            f'*one-b8-cpu-eager-fp32: issue 11 ("eager; torch>=2", {here}',
            f'XFAIL*one-b8-cpu-off-fp32*known gap: issue 12 ("off; torch>=2", {here}*',
        ]
    )
    assert result.ret == 0

    project.suite(SUITE.format("<2"))
    result = project.run(*run, targets="cpu-eager-fp32,cpu-off-fp32")
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == 10
    result.stdout.no_fnmatch_line("*gap closed*")
