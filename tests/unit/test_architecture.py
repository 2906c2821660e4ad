"""What people forget: which way imports point, that tables are complete, that nothing of a machine
is in the tree.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
from dataclasses import fields
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest

from paritygate.backends import BACKENDS
from paritygate.core.case import DTYPES
from paritygate.core.devices import DEVICE_KINDS
from paritygate.core.metrics import METRICS
from paritygate.core.record import Record
from tests.support.paths import ROOT

HARNESS = ROOT / "bench" / "paritygate"
PAGES = subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split()
# folder -> the folders that it may import from, beside itself; "backends/" is the light table in
# its __init__ alone
DIRECTIONS = {
    "core": "",
    "timing": "core",
    "parity": "",
    "host": "core timing",
    "process": "core timing host",
    "runtime": "core parity host",
    "backends": "core host runtime",
    "worker": "core timing parity host process runtime backends",
    "session": "core timing host process backends/",
    "gate": "core timing host process session backends/",
    "doctor": "core timing host process session backends/",
    "commands": "core host gate doctor",
    "plugin": "core host session gate backends/",
}
# what each folder may import of what is slow to import; the pytest process of a run without a gate
# stays light
HEAVY = {
    "torch",
    "transformers",
    "onnxruntime",
    "onnx",
    "numpy",
    "pandas",
    "scipy",
    "sqlalchemy",
    "sklearn",
}
# host: calibration, in a process of its own
MAY_BE_HEAVY = {
    "host": {"numpy"},
    "parity": {"numpy"},
    "gate": {"numpy", "scipy"},
    "runtime": HEAVY,
    "backends": HEAVY,
    "worker": HEAVY,
}
FROM_HARNESS = (
    "core.",
    "timing.",
    "parity.accuracy",
    "gate.request",
    "plugin.hookspecs",
    "host.paths",
)
# `from paritygate.host import paths`
FOLDERS_OF_THEM = {
    "core",
    "timing",
    "parity",
    "gate",
    "plugin",
    "host",
}


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def allowed(folder: str, name: str) -> bool:
    """Whether a file of ``folder`` may import ``name``, a module or something in one."""
    parts = name.split(".")
    if parts[0] != "paritygate" or len(parts) == 1 or not (HARNESS / parts[1]).is_dir():
        return True
    may = DIRECTIONS[folder].split()
    if parts[1] == folder or parts[1] in may:
        return True
    light = f"{parts[1]}/" in may
    return light and not (len(parts) > 2 and (HARNESS / parts[1] / f"{parts[2]}.py").exists())


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.py")), ids=lambda path: path.name)
def test_models_know_nothing_of_the_harness(path):
    assert not tops(imports(path)) & {"paritygate", "paritygate_reports"}


@pytest.mark.parametrize(
    "path", sorted(HARNESS.rglob("*.py")), ids=lambda path: str(path.relative_to(HARNESS))
)
def test_the_harness_imports_neither_models_nor_reports_nor_pandas(path):
    assert not tops(imports(path)) & {"models", "paritygate_reports", "pandas"}


@pytest.mark.parametrize(
    "folder", sorted({path.parent.name for path in HARNESS.glob("*/__init__.py")})
)
def test_imports_point_down(folder):
    """Down to ``core``, which bench/DESIGN.md lists first. ``DIRECTIONS`` says what is allowed."""
    wrong = {
        (str(path.relative_to(HARNESS)), name)
        for path in (HARNESS / folder).rglob("*.py")
        for name in imports(path)
        if not allowed(folder, name)
    }

    assert wrong == set()


@pytest.mark.parametrize("folder", DIRECTIONS)
def test_only_what_needs_it_imports_what_is_slow_to_import(folder):
    for path in (HARNESS / folder).rglob("*.py"):
        heavy = tops(imports(path)) & HEAVY
        assert heavy <= MAY_BE_HEAVY.get(folder, set()), path


@pytest.mark.parametrize(
    "path", sorted((ROOT / "reports").rglob("*.py")), ids=lambda path: path.name
)
def test_reports_import_only_the_light_words_of_the_harness(path):
    names = {
        name.removeprefix("paritygate.") for name in imports(path) if name.startswith("paritygate.")
    }

    assert [
        name for name in names if not name.startswith(FROM_HARNESS) and name not in FOLDERS_OF_THEM
    ] == []


@pytest.mark.parametrize("root", ["bench/paritygate", "reports/paritygate_reports", "models"])
def test_no_files_import_each_other_in_a_circle(root):
    """Also not for types alone: what two files name of each other belongs into one."""
    package = ROOT / root
    module_of = {
        path: ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for path in package.rglob("*.py")
        if path.name != "__init__.py"  # the face of a package hands on names
    }
    modules = set(module_of.values())

    graph = {module: imports(path) & modules - {module} for path, module in module_of.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("a circle of imports: " + " <- ".join(error.args[1]))


def test_nothing_imports_conftest():
    for folder in ("bench", "models", "reports"):
        for path in (ROOT / folder).rglob("*.py"):
            assert "conftest" not in tops(imports(path)), path


def test_only_devices_speaks_to_cuda_except_where_forking_must_be_safe():
    allowed = {"cuda.py", "forkserver.py"}
    speakers = {
        p.name
        for p in (ROOT / "bench").rglob("*.py")
        if re.search(r"\btorch\.cuda\.\w+\(", p.read_text())
    }

    assert speakers <= allowed


def test_nobody_sets_the_threads_of_torch_by_a_call():
    """It makes SDPA slower, even with the number that holds already; bench/evidence/threads.py
    shows how much.
    """
    callers = [
        p.name
        for p in (ROOT / "bench").rglob("*.py")
        if re.search(r"set_num_threads\([^n)]", p.read_text())
    ]

    assert sorted(callers) == ["patches.py", "threads.py"]  # the one plants it, the other shows it


@pytest.mark.parametrize("backend", sorted({backend.module for backend in BACKENDS.values()}))
def test_every_backend_has_its_three_functions(backend):
    tree = ast.parse(Path(find_spec(backend).origin).read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}

    assert {"available", "preload", "prepare"} <= functions
    assert ("artefact" in functions) == any(
        b.artefact for b in BACKENDS.values() if b.module == backend
    )


def test_metrics_are_fields_of_the_record():
    assert {metric.name for metric in METRICS} <= {field.name for field in fields(Record)}


def test_dtypes_of_devices_are_dtypes():
    assert {dtype for kind in DEVICE_KINDS.values() for dtype in kind.dtypes} <= set(DTYPES)


def test_the_pages_name_every_option_and_every_exit_status(pytestconfig):
    from paritygate.core.exitstatus import Exit

    readme, page = (ROOT / "README.md").read_text(), (ROOT / "bench" / "README.md").read_text()
    options = {
        f"--{name.replace('_', '-')}"
        for name in vars(pytestconfig.option)
        if name.startswith("bench_")
    }

    assert {"--bench-targets", "--bench-against", "--bench-store"} <= options
    rows = set(re.findall(r"^\| `(--[\w-]+)", page, re.MULTILINE))
    assert rows == options
    assert [
        status for status in Exit if status >= Exit.PARITY and f"| {int(status)} |" not in readme
    ] == []


def test_the_page_of_models_has_a_row_for_each_file():
    page = (ROOT / "models" / "README.md").read_text()
    files = {path.name for path in (ROOT / "models").glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"^\| `(\w+\.py)`", page, re.MULTILINE)) == files


def test_the_readme_is_read_in_one_go():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    """To a file of the repository, and there to a heading; how GitHub names headings."""
    text = (ROOT / page).read_text()
    assert "@@" not in text
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, heading = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if heading else []
        names = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
        assert not heading or heading in names, link


def test_constraints_pin_every_dependency():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *chain.from_iterable(project["optional-dependencies"].values()),
    ]
    pinned = {
        line.partition("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }

    for requirement in wanted:
        assert re.split(r"[\[<>=; ]", requirement)[0].lower() in pinned
