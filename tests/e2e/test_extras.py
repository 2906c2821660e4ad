"""What an extra would bring is named where it is missing, and nothing else needs it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import packages_distributions

import pytest

from paritygate.core.extras import EXTRAS, install
from paritygate_reports.store.store import Store
from tests.support.history import FINE, OLD
from tests.support.paths import ROOT

HIDDEN = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))  # None: importing it is a ModuleNotFoundError
from paritygate.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "s.sqlite")
    days = [
        replace(OLD, id=f"{day:08}", started=f"2026-11-{day:02}T08:00:00+00:00")
        for day in range(1, 15)
    ]
    found.write_runs([(run, [FINE]) for run in days])
    return found.name


def without(modules, *arguments, cwd=None):
    command = [sys.executable, "-c", HIDDEN, modules, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("jinja2", ["html"]),
        ("plotly", ["html"]),
        ("plotext", ["trend", "c-*"]),
        ("matplotlib", ["trend", "c-*", "-o", "t.png"]),
        ("ruptures", ["trend", "c-*"]),
        ("pyarrow", ["export", "out", "--format", "parquet"]),
    ],
)
def test_a_command_names_the_extra_that_it_needs(store, tmp_path, missing, arguments):
    done = without(missing, "--store", store, *arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert (
        done.stderr
        == f"paritygate {arguments[0]}: this needs {missing}: pip install 'paritygate[reports]'\n"
    )


@pytest.mark.parametrize(
    "arguments", [["runs"], ["show"], ["export", "out"], ["prune", "--keep", "5"]]
)
def test_the_rest_works_without_any_extra(store, tmp_path, arguments):
    done = without(",".join(EXTRAS), "--store", store, *arguments, cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_works_without_any_extra_and_names_the_one_of_a_report(project):
    hide = f"import sys\nsys.modules.update(dict.fromkeys({list(EXTRAS)!r}))\n"
    conftest = (project.path / "conftest.py").read_text()
    project.write("conftest.py", hide + conftest)
    result = project.run("-k", "one", "--bench-report", "r.html", "--bench-report", "r.csv")

    result.stdout.fnmatch_lines(
        [
            "report: r.html could not be written: this needs jinja2: pip install 'paritygate?reports?'",
            "report: r.csv",
        ]
    )
    assert result.ret == 1


def test_the_table_is_what_the_extras_bring():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = {
        (re.split(r"[\[<>=; ]", wanted)[0].lower().replace("-", "_"), extra)
        for extra in ("reports", "models", "postgresql")
        for wanted in extras[extra]
    }
    brought = packages_distributions()
    assert {
        (brought[module][0].lower().replace("-", "_"), extra) for module, extra in EXTRAS.items()
    } == named


def test_any_other_missing_module_is_no_extra():
    assert install(ModuleNotFoundError("x", name="xml.nowhere")) is None
    assert install(ValueError("plotly")) is None
