"""The gate end to end: a user's own repository, real revisions, real fork servers; each end by its
planted cause.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import xml.etree.ElementTree as ET

import pytest

from tests.support.project import CASES, eventually
from tests.support.project import MODEL as NET
from tests.support.repository import INI, MODEL, ONE, ONLY_ONE, SLOW, Repository

WIDE = """

class Wide(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(16, {width}), torch.nn.ReLU(), torch.nn.Linear({width}, 4))

    def forward(self, x):
        work({seconds})
        return self.layers(x)
"""
OTHER_NUMBERS = """

class Scaled(Net):
    def forward(self, x):
        return 1.01 * super().forward(x)


Net = Scaled
"""
COUNTED = """
    import os
    from pathlib import Path


    def alive(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False


    class Counted(Net):  # tells how many processes hold a model of this cell at once
        def __init__(self):
            super().__init__()
            with open("pids.txt", "a") as file:
                file.write(f"{os.getpid()}\\n")
            count = sum(alive(pid) for pid in set(Path("pids.txt").read_text().split()))
            with open("counts.txt", "a") as file:
                file.write(f"{count}\\n")


    Net = Counted
"""


def test_the_same_work_is_the_same_and_nothing_is_left_behind(repository):
    """Of two cells one is deselected, which is not lost. Never are more than two workers of a cell
    alive, controls included, whose base runs beside its twin.
    """
    repository.project.suite(CASES)
    repository.model(COUNTED)
    repository.commit("counted")
    repository.model(COUNTED + "    OTHER = 'than base'\n")
    away = [
        f"--deselect=test_my_model.py::{test}[two"
        for test in ("test_parity", "test_throughput", "test_regression")
    ]
    result = repository.gate("-v", *away, against="counted")

    result.stdout.fnmatch_lines(
        [
            f"*::test_parity[[]{ONE}] PASSED*",
            f"*::test_regression[[]{ONE}] PASSED*",
            "head against counted*: 1 same",
        ]
    )
    assert "test_throughput" not in result.stdout.str()
    assert result.ret == 0
    assert set(repository.project.records()) == {ONE}
    record = repository.project.records()[ONE]
    assert (record.verdict, record.findings) == ("same", [])
    assert record.effect_low <= record.effect <= record.effect_high
    assert record.throughput > 0
    assert record.error is not None
    counts = [int(line) for line in (repository.project.path / "counts.txt").read_text().split()]
    assert len(counts) > 2 * 3 * 2  # three launches of a pair and of a control
    assert max(counts) == 2
    assert not repository.left()


def test_a_limit_that_is_over_before_the_first_launch_leaves_its_cells_inconclusive(repository):
    result = repository.gate("--bench-limit", "1", against="HEAD")

    result.stdout.fnmatch_lines(
        [
            "head against HEAD*: 1 inconclusive",
            "*the time was up before its first launch*",
            "paritygate: exit status 14: the gate decided nothing: 1 cell inconclusive; *",
        ]
    )
    assert repository.project.records()[ONE].verdict == "inconclusive"
    assert result.ret == 14
    assert not repository.left()


def test_a_planted_slowdown_is_found(repository):
    result = repository.gate("--bench-plant", f"{ONE}=15%", against="HEAD")

    assert result.ret == 11
    record = repository.project.records()[ONE]
    assert record.effect == pytest.approx(0.15, abs=0.01)
    assert record.verdict_reason.startswith("slower by more than the tolerated 2.0%")


def test_a_gross_slowdown_is_found_by_the_real_clock(repository):
    """It may measure as more: where others use the processor, one who spins is let to run less than
    one who sleeps.
    """
    repository.model(
        "",
        NET.replace("import torch", "import time\n\n    import torch").replace(
            "return self.layers(x)", "time.sleep(0.010)\n            return self.layers(x)"
        ),
    )
    repository.commit("sleeps")
    result = repository.gate("--bench-plant", f"{ONE}=300%", against="HEAD")

    assert result.ret == 11
    assert repository.project.records()[ONE].effect > 0.3


def test_a_slower_head_is_11_and_says_by_how_much(repository):
    repository.model("", SLOW)
    result = repository.gate("--junit-xml", "out.xml")

    assert result.ret == 11
    record = repository.project.records()[ONE]
    assert record.verdict == "regressed"
    assert record.effect == pytest.approx(1.0, abs=0.01)
    result.stdout.fnmatch_lines([f"*regressed*{ONE}*", "FAILED*test_regression*"])
    (failure,) = ET.parse(repository.project.path / "out.xml").iter("failure")
    assert "regressed: slower in each of 2 launch pairs" in failure.get("message")

    # the regression alone, though parity items came first
    again = repository.gate("--lf", "--collect-only", "-q")
    again.stdout.fnmatch_lines([f"*::test_regression[[]{ONE}]"])
    assert "test_parity" not in again.stdout.str()
    by_id = repository.gate("--collect-only", "-q", f"test_my_model.py::test_regression[{ONE}]")
    by_id.stdout.fnmatch_lines(["1 test collected*"])


def test_other_numbers_and_weights_that_do_not_fit_are_named_and_speed_is_compared(repository):
    repository.model(WIDE.format(width=32, seconds=0.002), SLOW)
    repository.project.suite("""
        CASES = (
            Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
            Case("wide", model="my_model:Wide", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
        )
    """)
    repository.commit("narrow")
    repository.model(WIDE.format(width=48, seconds=0.001) + textwrap.dedent(OTHER_NUMBERS))
    repository.gate(against="narrow")

    records = repository.project.records()
    (line,) = [line for line in records[ONE].findings if line.startswith("answers")]
    assert "differ from base's by 0.01 on the same inputs and weights" in line
    assert records[ONE].verdict == "answers_changed"
    assert records[ONE].effect == pytest.approx(-0.5, abs=0.01)
    wide = records["wide-b8-cpu-eager-fp32"]
    assert wide.verdict == "improved"
    assert any("base cannot load head's weights" in line for line in wide.findings)
    assert any(line.startswith("parameters: 676 -> 1012") for line in wide.findings)


def test_a_head_that_does_not_import_is_12(repository):
    repository.model("raise RuntimeError('half written')")
    result = repository.gate()

    assert result.ret == 12
    result.stdout.fnmatch_lines(["*half written*"])


def test_a_base_that_does_not_import_is_told_and_is_14_where_nothing_else_was_compared(repository):
    repository.model("raise RuntimeError('half written')")
    repository.commit("broken")
    repository.model("")
    repository.project.suite("""
        CASES = (
            Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
            Case("sound", model="torch.nn:Identity", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
        )
    """)
    result = repository.gate("-rs", against="broken")

    result.stdout.fnmatch_lines(["*broken: base: *half written*"])
    assert result.ret == 14  # nothing could be compared


def test_what_is_not_known_is_15_where_strictness_was_asked_for(repository):
    repository.project.write(
        "pytest.ini", INI.replace("my_model.py", "\n    my_model.py\n    sound.py")
    )
    repository.project.write("sound.py", SLOW)
    repository.project.suite("""
        CASES = (
            Case("one", model="my_model:Net", inputs="sound:inputs", shapes={"b8": {"batch": 8}}),
            Case("sound", model="sound:Net", inputs="sound:inputs", shapes={"b8": {"batch": 8}}),
        )
    """)
    repository.model("raise RuntimeError('half written')")
    repository.commit("broken")
    repository.model("")
    repository.project.write("sound.py", MODEL)
    result = repository.gate("-rs", "--bench-strict", against="broken")

    assert result.ret == 15
    result.stdout.fnmatch_lines(["*broken: base: *half written*"])
    assert repository.project.records()["sound-b8-cpu-eager-fp32"].verdict == "improved"


def test_wrong_answers_on_head_are_10_and_are_not_timed(repository):
    repository.model("", SLOW)
    repository.commit("slow")
    repository.model("")
    repository.project.backend("off", "tensor + 1")
    result = repository.project.run(
        "--bench-against", "slow", targets="cpu-eager-fp32,cpu-off-fp32"
    )

    assert result.ret == 10
    assert repository.project.records()["one-b8-cpu-off-fp32"].verdict == "broken"
    assert repository.project.records()[ONE].verdict == "improved"


def test_a_cell_that_head_has_lost_is_14_unless_it_was_given_up(repository):
    repository.project.suite("""
        CASES = (
            Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
            Case("two", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
        )
    """)
    repository.model("", SLOW)
    repository.commit("two")
    repository.model("")
    repository.project.suite(ONLY_ONE)
    result = repository.gate(against="two")

    assert result.ret == 14
    assert "missing: one" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*missing: two-b8-cpu-eager-fp32 is in base and not in head*"])

    given_up = "bench_removed = two-b8-cpu-eager-fp32: nobody used it"
    repository.project.write("pytest.ini", f"{INI}{given_up}\n")
    assert repository.gate(against="two").ret == 0


def test_a_renamed_case_is_new_and_its_old_name_is_told_where_nothing_else_is_compared(repository):
    repository.project.suite(ONLY_ONE.replace('"one"', '"uno"'))
    result = repository.gate("--bench-report", "r.md")

    assert result.ret == 14
    result.stdout.fnmatch_lines(
        [
            "head against base (*), profile noisy: 1 new",
            f"*missing: {ONE} is in base and not in head; if it was removed or renamed *",
            "paritygate: exit status 14: base has 1 cell that head lacks; *",
        ]
    )
    assert (repository.project.path / "r.md").read_text().startswith("## paritygate: not ok")


def test_a_cell_of_other_sizes_is_new_and_not_compared_with_its_namesake(repository):
    repository.project.suite(ONLY_ONE.replace('{"batch": 8}', '{"batch": 16}'))
    result = repository.gate()

    assert result.ret == 14
    result.stdout.fnmatch_lines(
        [
            "head against base (*), profile noisy: 1 new",
            f"*new * {ONE}: base has other work under this name: size batch: 8 -> 16",
            "paritygate: exit status 14: the gate compared no cell with the other revision",
        ]
    )


def test_the_same_installed_code_on_both_sides_is_13(repository, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("site")
    (elsewhere / "my_model.py").write_text(textwrap.dedent(MODEL))
    (elsewhere / "sitecustomize.py").write_text(
        f"import importlib.util, sys\nspec = importlib.util.spec_from_file_location('my_model', {str(elsewhere)!r} + "
        "'/my_model.py')\nclass First:\n    def find_spec(self, name, path=None, target=None):\n"
        "        return spec if name == 'my_model' else None\nsys.meta_path.insert(0, First())\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(elsewhere), os.environ["PYTHONPATH"]]))
    result = repository.gate()

    assert result.ret == 13
    said = " ".join(result.stdout.str().split())
    assert "run invalid: head and base ran the same installed code: my_model from" in said


def test_another_interpreter_is_compared_with_the_same_code(repository, tmp_path):
    venv = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    packages = next(venv.glob("lib/python*/site-packages"))
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(venv / "bin" / "python")
    slow_there = f"import sys\nSECONDS = 0.002 if sys.executable == {python!r} else 0.001\n"
    repository.model(slow_there, MODEL.replace("0.001", "SECONDS"))
    result = repository.project.run(f"--bench-against-python={python}")

    result.stdout.fnmatch_lines([f"head against {python}*"])
    assert repository.project.records()[ONE].verdict == "improved"
    assert not repository.left()

    result = repository.project.run("--bench-against-python=/no/python")
    result.stderr.fnmatch_lines(["*--bench-against-python: '/no/python' is no interpreter*"])
    result = repository.gate(f"--bench-against-python={python}")
    result.stderr.fnmatch_lines(["*give one, else two things differ at once*"])


@pytest.mark.parametrize(
    ("against", "said"),
    [
        ("nonsense", "*--bench-against: 'nonsense' is no branch, tag or commit here*git fetch*"),
        ("--output=x", "*--bench-against: '--output=x' is no branch*"),
    ],
)
def test_a_revision_that_is_none_is_a_usage_error(repository, against, said):
    result = repository.project.run(f"--bench-against={against}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    assert not repository.left()


def test_no_repository_no_source_and_no_profile_are_usage_errors(project):
    assert project.run("--bench-against", "HEAD").ret == pytest.ExitCode.USAGE_ERROR
    repository = Repository(project)
    project.write("pytest.ini", "[pytest]\nbench_source = nowhere\n")
    result = repository.gate()
    result.stderr.fnmatch_lines(["*bench_source: 'nowhere' is not in *"])
    result = repository.gate("--bench-plant", "20%")
    result.stderr.fnmatch_lines(["*--bench-plant: '20%' must be like *"])
    result = repository.gate("--bench-profile", "lax")
    result.stderr.fnmatch_lines(["*--bench-profile: 'lax' must be one of normal, strict, noisy*"])
    for arguments in (("--bench-against", "HEAD"), ()):
        result = repository.project.run("--bench-limit", "2m", *arguments)
        result.stderr.fnmatch_lines(
            ["*--bench-limit: '2m' must be auto or a whole number of seconds, e.g. 600*"]
        )


@pytest.mark.parametrize(
    ("planted", "against", "said"),
    [
        (f"{ONE}=1.5", "HEAD", f"*--bench-plant: '{ONE}=1.5' is 150%; write {ONE}=1.5% for 1.5%*"),
        (f"{ONE}=0%", "HEAD", "*a cell can be made slower once, by more than nothing*"),
        (
            "two-b8-cpu-eager-fp32=5%",
            "HEAD",
            "*'two-b8-cpu-eager-fp32' is no cell that this run compares*",
        ),
        (
            f"{ONE}=5%",
            None,
            "*--bench-plant: needs a gate that could find it; give --bench-against*",
        ),
    ],
)
def test_a_plant_that_nothing_could_find_is_refused(repository, planted, against, said):
    gate = ["--bench-against", against] if against else []
    result = repository.project.run("--bench-plant", planted, *gate)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    assert not repository.left()


def test_a_model_is_under_test_where_something_that_it_imports_is(repository):
    repository.project.write("sound.py", "from my_model import Net, inputs\n")
    repository.project.suite(ONLY_ONE.replace("my_model:", "sound:"))
    repository.commit("sound")
    repository.gate("--bench-limit", "1", against="sound")

    assert repository.project.records()[ONE].verdict == "inconclusive"  # would be unchecked


def test_code_in_a_src_layout_reads_the_files_of_its_own_revision(repository):
    """Only a data file outside the source changes; head reads it beside the package and is slower."""
    layout = {
        "pytest.ini": "[pytest]\npythonpath = src\nbench_source = src\nbench_profile = noisy\n",
        "src/pkg/__init__.py": "",
        "src/pkg/net.py": textwrap.dedent(MODEL).replace("0.001", "SECONDS")
        + "from pathlib import Path\n"
        + "SECONDS = float((Path(__file__).parents[2] / 'configs/net.txt').read_text())\n",
        "configs/net.txt": "0.001",
    }
    for file, text in layout.items():
        repository.project.write(file, text)
    repository.project.suite(ONLY_ONE.replace("my_model:", "pkg.net:"))
    repository.commit("fast")
    repository.project.write("configs/net.txt", "0.002")
    result = repository.gate(against="fast")

    assert result.ret == 11
    record = repository.project.records()[ONE]
    assert record.verdict == "regressed"
    assert record.launches == 2  # gross: decided early
    result.stdout.fnmatch_lines(["*regressed*", "*slower in each of * launch pairs, by *% or more"])


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (
            "package\n    package/one.py",
            "*bench_source: 'package/one.py' is in 'package', which is named, too*",
        ),
        ("{path}/my_model.py", "*bench_source: '*my_model.py' must be a path below *"),
        (
            "package/../my_model.py",
            "*bench_source: 'package/../my_model.py' must be a path below *",
        ),
    ],
)
def test_sources_whose_links_would_lie_among_the_users_files_are_refused(repository, sources, said):
    (repository.project.path / "package").mkdir()
    kept = repository.project.write("package/one.py", "one = 1\n")
    repository.project.write(
        "pytest.ini",
        INI.replace("my_model.py", "\n    " + sources.format(path=repository.project.path)),
    )
    result = repository.gate()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    assert kept.read_text() == "one = 1\n"
    assert not kept.is_symlink()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_ended_leaves_neither_checkout_nor_process(repository, how):
    running = repository.project.start("--bench-against", "base")
    eventually(
        lambda: list((repository.project.path / ".paritygate" / "scratch").glob("*/base/launch-1")),
        seconds=120,
    )
    os.kill(running.process.pid, how)

    assert running.end() == pytest.ExitCode.INTERRUPTED
    assert not repository.left()
    assert repository.project.records()[ONE].verdict == ""  # what was checked is kept
