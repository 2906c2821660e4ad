"""Private names of torch that a release lacks: not known, told so, and never an error."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from paritygate.backends import BackendError, UnavailableError, aoti, compiled
from paritygate.core.case import Case
from paritygate.core.exitstatus import Exit, Outcome, settle
from paritygate.core.record import Status
from paritygate.runtime import compilation, private
from paritygate.runtime.promoted import Promoted
from paritygate.timing import diagnostics

# torch's own, of modules that preload imports
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

HARNESS = Path(private.__file__).parents[1]
NAME = re.compile(r"torch(\.\w+)*\._[a-zA-Z]\w*(\.\w+)*")
# torch's own pages tell users to import these two
DOCUMENTED = ("torch.utils._pytree", "torch.utils._python_dispatch")

# what cannot be proved without a name
PLACES = ("graph breaks", "which functions were compiled")
FRAMES = ("graph breaks", "recompiles", "which functions were compiled")
NAMES = {
    "torch._C.DispatchKey.CompositeImplicitAutograd": (),
    "torch._decomp.decomposition_table": (),
    "torch._dynamo": ("errors while compiling", "the recompile limit", "graphs", *FRAMES),
    "torch._dynamo.OptimizedModule": (),
    "torch._dynamo.config.disable": (),
    "torch._dynamo.config.fail_on_recompile_limit_hit": ("the recompile limit",),
    "torch._dynamo.config.suppress_errors": ("errors while compiling",),
    "torch._dynamo.exc": (),
    "torch._dynamo.exc.FailOnRecompileLimitHit": (),
    "torch._dynamo.exc.Unsupported": (),
    "torch._dynamo.exc.UserError": (),
    "torch._dynamo.utils.clear_compilation_metrics": FRAMES,
    "torch._dynamo.utils.counters": ("graphs",),
    "torch._dynamo.utils.get_compilation_metrics": FRAMES,
    "torch._dynamo.utils.graph_break_reasons": ("graph breaks",),
    "torch._dynamo.utils.set_compilation_metrics_limit": FRAMES,
    "torch._inductor.aoti_compile_and_package": (),
    "torch._inductor.aoti_load_package": (),
    "torch._inductor.codecache.CppPythonBindingsCodeCache": (),
    "torch._inductor.codecache.PyCodeCache.modules": (),
    "torch._inductor.codecache.torch_key": (),
    "torch._inductor.compile_fx": (),
    "torch._inductor.cpp_builder.get_compiler_version_info": (),
    "torch._inductor.cpp_builder.get_cpp_compiler": (),
    "torch._inductor.cpu_vec_isa.pick_vec_isa": (),
    "torch._inductor.package": (),
    "torch._inductor.runtime.triton_compat.HAS_TRITON": (),
    "torch._inductor.runtime.triton_compat.triton_key": (),
    "torch._inductor.utils.fresh_cache": (),
}
METRICS = {  # fields of torch's CompilationMetrics
    "co_name": FRAMES,
    "co_filename": PLACES,
    "co_firstlineno": PLACES,
    "compile_id": ("recompiles",),
    "recompile_reason": (),
    "fail_type": ("graph breaks",),
    "fail_reason": ("graph breaks",),
    "fail_user_frame_filename": (),
    "fail_user_frame_lineno": (),
    "graph_op_count": (),
    "cudagraph_skip_reason": (),
}


def dotted(node):
    """The name of a chain of attributes, e.g. "torch._dynamo.config"."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def sources():
    return [(path, ast.parse(path.read_text())) for path in sorted(HARNESS.rglob("*.py"))]


def test_every_private_name_that_is_read_is_in_the_table():
    read = {
        node.value
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and NAME.fullmatch(str(node.value))
    }
    assert read == set(NAMES), "each needs a row, and each row a reader"
    assert {each.name for each in fields(compilation.Attempt)} | {"cudagraph_skip_reason"} == set(
        METRICS
    )


def test_private_names_are_read_by_one_function():
    direct = set()
    for path, tree in sources():
        for node in ast.walk(tree):
            names = [dotted(node)]
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            direct |= {
                (path.name, name)
                for name in names
                if NAME.fullmatch(name) and not name.startswith(DOCUMENTED)
            }
    assert direct == set(), "ask paritygate.runtime.private.read, which gives None where it is not"


def test_every_counter_is_one_that_this_torch_counts():
    """One that was renamed would be 0 forever."""
    folders = [
        Path(torch.__file__).parent / name for name in ("_dynamo", "_inductor", "_functorch")
    ]
    counted = set()
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        counted |= set(re.findall(r'counters\["(\w+)"\]\[\s*"(\w+)"', path.read_text()))
    assert set(compilation.COUNTERS.values()) <= counted


def test_what_torch_lacks_is_none_and_not_made():
    for name in ("torch._nothing", "torch._dynamo.nothing.deeper", "torch._dynamo.config.nothing"):
        assert private.read(name) is None
        assert not private.assign(name, 1)
        assert private.read(name) is None
    assert private.read("torch._dynamo.utils.counters") is torch._dynamo.utils.counters


# -- a cell without each of them


REAL, COMPILE = private.read, torch.compile


class Net(nn.Module):
    def __init__(self, breaks=False):
        super().__init__()
        self.out, self.breaks = nn.Linear(16, 4), breaks

    def forward(self, x):
        x = x.relu()
        if self.breaks:
            torch._dynamo.graph_break()
        return self.out(x)


@pytest.fixture(autouse=True)
def _torch_as_it_was(monkeypatch):
    config = torch._dynamo.config
    torch._dynamo.reset()
    monkeypatch.setattr(
        torch,
        "compile",
        lambda model, mode, dynamic: COMPILE(model, backend="eager", dynamic=dynamic),
    )
    with config.patch(
        suppress_errors=config.suppress_errors,
        fail_on_recompile_limit_hit=config.fail_on_recompile_limit_hit,
    ):
        yield
    torch.compiler.set_stance("default")
    torch._dynamo.reset()


def cell(model):
    """The facts of a compile cell that has answered as eager does."""
    compiled.preload()
    model = model.eval()
    subject = SimpleNamespace(
        backend="compile",
        device="cpu",
        dtype_name="fp32",
        module=lambda: model,
        case=SimpleNamespace(graph_breaks=0, mode="inference"),
        remembered=(),
    )
    prepared = compiled.prepare(subject)
    x = torch.ones(8, 16)
    with prepared.context():
        for _ in range(2):
            (answer,) = prepared.to_tensors(prepared.call(prepared.to_inputs((x,))))
    with torch.no_grad():
        assert torch.allclose(answer, model(x))
    return prepared.facts()


def hide(monkeypatch, *names):
    """Have torch lack names, and what is in them."""
    prefixes = tuple(f"{name}." for name in names)
    monkeypatch.setattr(
        private,
        "read",
        lambda name: None if f"{name}.".startswith(prefixes) else REAL(name),
    )


KNOWN = {"graphs", "captured_calls", "graph_breaks", "recompiles", "cache_hits", "cold"}


def test_nothing_is_unknown_of_this_torch():
    found = cell(Net())
    assert set(found) >= KNOWN
    assert "not_known" not in found


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_answers_without_the_name_and_says_what_it_could_not_prove(monkeypatch, name):
    hide(monkeypatch, name)
    found = cell(Net())
    assert sorted(found.get("not_known", ())) == sorted(NAMES[name])
    for question in ("graphs", "graph breaks", "recompiles"):
        assert (question.replace(" ", "_") in found) == (question not in NAMES[name]), question


def test_a_triton_without_its_key_is_preloaded_as_well(monkeypatch):
    def read(name):
        return name.endswith("HAS_TRITON") or (None if name.endswith("_key") else REAL(name))

    monkeypatch.setattr(private, "read", read)
    compiled.preload()


@pytest.mark.parametrize("field", METRICS)
def test_a_cell_answers_without_the_field_and_says_what_it_could_not_prove(monkeypatch, field):
    def without():
        return [
            SimpleNamespace(**{name: getattr(one, name) for name in METRICS if name != field})
            for one in REAL("torch._dynamo.utils.get_compilation_metrics")()
        ]

    monkeypatch.setattr(
        private,
        "read",
        lambda name: without if name.endswith("get_compilation_metrics") else REAL(name),
    )
    assert sorted(cell(Net()).get("not_known", ())) == sorted(METRICS[field])


@pytest.mark.parametrize("fact", compilation.COUNTERS)
def test_a_cell_answers_without_the_counter(monkeypatch, fact):
    _, name = compilation.COUNTERS[fact]

    class Deaf(Counter):
        def __setitem__(self, key, value):
            if key != name:
                super().__setitem__(key, value)

    deaf = defaultdict(Deaf)
    monkeypatch.setattr(
        private, "read", lambda wanted: deaf if wanted.endswith("utils.counters") else REAL(wanted)
    )
    monkeypatch.setattr("torch._dynamo.output_graph.counters", deaf)
    found = cell(Net())
    assert found.get("not_known", []) == (["graphs"] if fact == "graphs" else [])
    assert (fact in found) == (fact not in ("graphs", "captured_calls"))


@pytest.mark.parametrize("name", ["torch._dynamo.exc", "torch._dynamo.exc.Unsupported"])
def test_where_torch_gave_up_and_the_kind_of_error_is_gone_breaks_are_not_known(monkeypatch, name):
    class GivenUp(nn.Module):
        def forward(self, x):
            for _ in range(2):
                torch._dynamo.graph_break()
            return x.relu()

    with pytest.raises(BackendError):
        cell(GivenUp())
    torch._dynamo.reset()
    hide(monkeypatch, name)
    counters = compilation.CompileCounters(GivenUp())
    COMPILE(GivenUp(), backend="eager")(torch.ones(2))
    assert counters.breaks() is None


def test_what_is_still_told_still_fails_a_cell(monkeypatch):
    hide(monkeypatch, "torch._dynamo.utils.counters")
    with pytest.raises(BackendError, match="graph break: 1 found, 0 declared"):
        cell(Net(breaks=True))
    monkeypatch.setattr(torch, "compile", lambda model, mode, dynamic: model)
    with pytest.raises(BackendError, match="captured no graph"):
        cell(Net())


def test_an_error_of_a_call_stays_as_it_is_without_the_name_of_the_limit(monkeypatch):
    hide(monkeypatch, "torch._dynamo.exc.FailOnRecompileLimitHit")
    model = Net()
    model.out = nn.Linear(3, 4)
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied|same reduction dim"):
        cell(model)


def test_a_package_cannot_be_made_or_loaded_without_inductors_functions(monkeypatch):
    subject = SimpleNamespace(remembered=(), folder="")
    hide(monkeypatch, "torch._inductor.aoti_load_package")
    with pytest.raises(UnavailableError, match=r"^this torch has no .*aoti_load_package"):
        aoti.prepare(subject)
    hide(monkeypatch, "torch._inductor.aoti_compile_and_package")
    monkeypatch.setattr("paritygate.backends.flat.exportable", lambda _: Net())
    with pytest.raises(UnavailableError, match=r"^this torch has no .*aoti_compile_and_package"):
        aoti._compile(subject, None, Path())


def test_a_toolchain_that_torch_does_not_tell_is_none(monkeypatch):
    compiler, processor, instructions = aoti._toolchain()
    for name in ("cpp_builder.get_compiler_version_info", "cpp_builder.get_cpp_compiler"):
        hide(monkeypatch, f"torch._inductor.{name}")
        assert aoti._toolchain() == [None, processor, instructions]
    hide(monkeypatch, "torch._inductor.cpu_vec_isa.pick_vec_isa")
    assert aoti._toolchain() == [compiler, processor, None]


@pytest.mark.parametrize(
    "name",
    ["torch._decomp.decomposition_table", "torch._C.DispatchKey.CompositeImplicitAutograd"],
)
def test_an_operator_without_its_formula_is_refused_as_torch_does_it(monkeypatch, name):
    hide(monkeypatch, *(name for name in NAMES if name.startswith(("torch._decomp", "torch._C"))))
    with Promoted():
        assert torch.ones(3, dtype=torch.float64).sum() == 3.0


# -- what is told of it


def test_a_real_cell_of_a_torch_without_any_of_them_is_ok_and_says_so(rig):
    rig.module(
        "ignorant",
        """
from torch import nn
from paritygate.runtime import private

private.read = lambda name: None  # in the worker of the cell, which imports the model


def net():
    return nn.Linear(16, 4)


def inputs(sizes, generator):
    import torch

    return (torch.randn(sizes["batch"], 16, generator=generator),)
""",
    )
    case = Case(
        "ignorant", model="ignorant:net", inputs="ignorant:inputs", shapes={"b8": {"batch": 8}}
    )
    record = rig.run(case, "eager", "compile", timed=True)["compile"]
    assert (record.status, record.reason) == (Status.OK, "")
    assert record.measured
    assert record.facts["not_known"] == [
        "errors while compiling",
        "the recompile limit",
        "graphs",
        "graph breaks",
        "recompiles",
        "which functions were compiled",
    ]
    assert not {"graphs", "graph_breaks", "recompiles", "cache_hits"} & set(record.facts)
    assert [
        text for text in record.warnings if text.startswith("not known: this release of torch ")
    ]


def test_it_is_a_warning_and_with_strict_a_status():
    (warning,) = diagnostics.model_warnings({"not_known": ["graphs", "recompiles"]})
    assert warning.startswith(
        "not known: this release of torch does not report graphs, recompiles; "
    )

    def status(strict):
        one = Outcome("a", "parity", Status.OK, judged=False, measured=False, not_known=True)
        return settle(0, [one], 0, strict=strict, timing=False).status

    assert (status(strict=False), status(strict=True)) == (Exit.OK, Exit.UNDECIDED)
