"""torch.compile: caught wherever eager would answer for it; its CUDA graphs without a GPU: marked,
refused and told.
"""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from paritygate.backends import BackendError, UnavailableError, compiled
from paritygate.runtime import compilation
from tests.support import specimens, specimens_compile
from tests.support.fakes import subject
from tests.support.specimens_compile import marked

REAL = torch.compile


@pytest.fixture(autouse=True)
def _torch_as_it_was():
    """The settings of torch that ``prepare`` and some models change."""
    config = torch._dynamo.config
    torch._dynamo.reset()
    with config.patch(
        suppress_errors=config.suppress_errors,
        fail_on_recompile_limit_hit=config.fail_on_recompile_limit_hit,
        allow_rnn=config.allow_rnn,
        disable=config.disable,
    ):
        yield
    torch.compiler.set_stance("default")
    torch._dynamo.reset()


class Counters:
    def __init__(self, model=None, **found):
        self.found = {
            "graph_breaks": 0,
            "graph_break_reasons": {},
            "graphs": 1,
            "cudagraph_skips": 0,
            "cudagraph_skip_reasons": ["mutated inputs"],
        } | found

    def facts(self):
        return dict(self.found)

    def cold(self):
        return False

    def breaks(self):
        return []

    def overlooked(self):
        return None

    def compiled(self):
        return 1

    def recompiles(self, since=0):
        return []


@pytest.mark.parametrize(
    ("name", "device", "marks"),
    [
        ("compile_reduce_overhead", "cuda", 2),
        ("compile_max_autotune", "cuda", 2),
        ("compile", "cuda", 0),
        ("compile_max_autotune", "cpu", 0),
    ],
)
def test_cuda_graphs_are_told_of_each_step_and_may_not_be_skipped(monkeypatch, name, device, marks):
    steps = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: module)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: steps.append(1))
    monkeypatch.setattr(
        "paritygate.runtime.compilation.CompileCounters",
        lambda model: Counters(cudagraph_skips=marks),
    )
    model = torch.nn.Linear(4, 2)
    given = subject(name, device)
    given.module, given.case, given.remembered = (
        lambda: model,
        SimpleNamespace(graph_breaks=0, mode="inference"),
        (),
    )
    prepared = compiled.prepare(given)
    for _ in range(2):
        prepared.call((torch.zeros(1, 4),))

    assert len(steps) == marks
    assert (prepared.kernels((torch.zeros(1, 4),)) is None) == bool(marks), (
        "a replayed graph shows none"
    )
    if name == "compile_reduce_overhead":
        with pytest.raises(
            BackendError, match=r"fallback: CUDA graphs were skipped 2 times \(mutated inputs\)"
        ):
            prepared.facts()
    else:
        prepared.facts()


def test_reasons_why_cuda_graphs_were_skipped_are_told(monkeypatch):
    told = [
        SimpleNamespace(cudagraph_skip_reason=reason, co_name=None, recompile_reason=None)
        for reason in ("mutated inputs", None, "mutated inputs")
    ]
    counters = compilation.CompileCounters()
    assert counters.facts()["cudagraph_skip_reasons"] == []
    monkeypatch.setattr(counters, "_metrics", lambda: told)
    assert counters.facts()["cudagraph_skip_reasons"] == ["mutated inputs"]


# -- evidence, of dynamo alone: with the backend "eager" nothing is generated


def sets(number=4, shape=(8, 16)):
    """Input sets of one layout, which take the same branches: the last of them is negative at
    first.
    """
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(*shape, generator=generator) for _ in range(number)]
    for x in made:
        x[0, 0] = 1.0
    return [(x,) for x in made]


@pytest.fixture
def prepare(monkeypatch):
    """A model prepared by the backend; ``case`` is what it declares."""
    monkeypatch.setattr(
        torch, "compile", lambda model, mode, dynamic: REAL(model, backend="eager", dynamic=dynamic)
    )

    def make(model, remembered=(), **case):
        torch._dynamo.reset()  # a worker has compiled nothing before
        given = subject("compile")
        given.module = lambda: model.eval() if isinstance(model, nn.Module) else model
        given.case = SimpleNamespace(**{"graph_breaks": 0, "mode": "inference"} | case)
        given.remembered = remembered
        return compiled.prepare(given)

    return make


def answer(prepared, inputs):
    with prepared.context():
        return [prepared.to_tensors(prepared.call(prepared.to_inputs(one))) for one in inputs]


@pytest.mark.parametrize(
    ("name", "guard"),
    [
        ("Counter", "self.calls == 0"),
        ("Growing", "not self.log"),
        ("Decaying", "self.scale == 1.0"),
        ("GlobalCounter", "G['TIMES'] == "),
    ],
)
@pytest.mark.parametrize("mode", ["inference", "backward"])
def test_a_recompile_between_checked_calls_fails_with_its_guard_and_line(
    prepare, name, guard, mode
):
    model = getattr(specimens_compile, name)
    prepared = prepare(model(), mode=mode)
    answer(prepared, sets(2))

    with pytest.raises(BackendError) as failed:
        prepared.facts()

    first, _, rest = str(failed.value).partition("\n")
    assert first.startswith(
        "recompile between calls of one layout: forward (tests/support/specimens_compile.py:"
    )
    assert f"guard `{guard}" in first
    assert f"failed, {marked(model)} `" in first
    assert "in a tensor" in first
    assert "User stack trace" in rest, "all that torch has told"


@pytest.mark.parametrize(
    ("name", "attribute"), [("Counter", "calls"), ("Growing", "log"), ("Decaying", "scale")]
)
def test_a_recompile_is_found_though_somebody_restores_attributes_before_every_checked_call(
    prepare, name, attribute
):
    model = getattr(specimens_compile, name)()
    initial = getattr(model, attribute)
    prepared = prepare(model)
    for one in sets():
        setattr(model, attribute, type(initial)(initial))
        answer(prepared, [one])

    with pytest.raises(
        BackendError, match=rf"recompile between calls.* {re.escape(marked(type(model)))} "
    ):
        prepared.facts()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *(
            (name, "inference")
            for name in ("Plain", "Stateful", "Changing", "Asserting", "Generating", "Decorated")
        ),
        *((name, "backward") for name in ("Plain", "Stateful", "Called")),
    ],
)
def test_nothing_is_said_of_a_model_that_stays_as_it_was_compiled(prepare, name, mode):
    prepared = prepare(getattr(specimens_compile, name)(), mode=mode)
    answer(prepared, sets())
    for _ in range(2):
        found = prepared.facts()
        assert (found["graphs"], found["graph_breaks"], found["recompiles"]) == (1, 0, 0)


def test_two_calls_are_made_once_and_leave_the_inputs_as_they_were(prepare):
    model = specimens_compile.Stateful()
    prepared = prepare(model)
    inputs = sets(1)
    answer(prepared, inputs)
    assert int(model.calls) == 1
    prepared.facts()
    assert int(model.calls) == 3
    prepared.facts()
    assert int(model.calls) == 3

    remembering = prepare(model, remembered=("buffer calls",))
    answer(remembering, inputs)
    remembering.facts()
    assert int(model.calls) == 3, "of a model that remembers the initial state comes back"

    changing = prepare(specimens_compile.Changing())
    answer(changing, inputs)
    before = inputs[0][0].clone()
    changing.facts()
    assert torch.equal(inputs[0][0], before)


def test_a_training_puts_its_state_back_by_itself_and_is_not_called_again(prepare):
    model = specimens_compile.Stateful().train()
    prepared = prepare(model, mode="training", loss=None, optimizer="torch.optim:SGD")
    (inputs,) = sets(1)
    answer(prepared, [(inputs, torch.zeros(8, dtype=torch.int64))])
    prepared.facts()
    assert int(model.calls) == 1


def test_timed_calls_go_to_the_mode_itself(prepare):
    prepared = prepare(specimens_compile.Plain())
    watched = prepared.call
    answer(prepared, sets(1))
    assert prepared.call is not watched
    assert type(prepared.call).__name__ == "Inference"

    wrapped = prepare(specimens_compile.Plain())
    inner = wrapped.call
    wrapped.call = outer = lambda raw: inner(raw)
    answer(wrapped, sets())
    assert wrapped.call is outer, "whoever has wrapped it keeps the wrapper"
    assert wrapped.facts()["recompiles"] == 0


def test_calls_that_need_no_copy_are_called_with_their_own_inputs(prepare):
    """Preprocessing makes inputs for one call, under the mode's guard: a copy made elsewhere is
    another kind.
    """
    prepared = prepare(specimens_compile.Plain())
    with prepared.context():
        for _ in range(2):
            prepared.call((torch.randn(8, 16),))
    assert prepared.facts()["recompiles"] == 0


@pytest.mark.parametrize("name", ["Counter", "Growing", "Decaying"])
def test_at_the_recompile_limit_nothing_goes_on_in_eager(prepare, name):
    model = getattr(specimens_compile, name)
    prepared = prepare(model())

    with pytest.raises(BackendError) as failed:
        answer(prepared, sets(32))

    told = str(failed.value).partition("\n")[0]
    assert told.startswith(
        "recompile limit: after 8 recompiles torch.compile would go on in eager: forward (tests/"
    )
    assert f"failed, {marked(model)} `" in told
    assert "torch._dynamo.config.recompile_limit" in told


def test_a_training_meets_the_limit_in_its_curve_as_well(prepare):
    prepared = prepare(
        specimens_compile.Counter(), mode="training", loss=None, optimizer="torch.optim:SGD"
    )
    (inputs,) = sets(1)
    with pytest.raises(BackendError, match=r"recompile limit: .* guard `self.calls == 7` failed"):
        prepared.training.loss_curve([(inputs, torch.zeros(8, dtype=torch.int64))])


def test_other_errors_of_a_call_are_told_as_they_are(prepare):
    prepared = prepare(specimens_compile.Plain())
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied|same reduction dim"):
        answer(prepared, sets(1, (8, 3)))
    with pytest.raises(RuntimeError, match=r"^a kernel failed$"), prepared.steady_context():
        raise RuntimeError("a kernel failed")


def test_a_recompile_in_the_measured_loop_is_told_with_its_guard_and_line(prepare, monkeypatch):
    prepared = prepare(specimens.Switch())
    answer(prepared, sets())
    prepared.facts()
    monkeypatch.setattr(specimens, "SCALE", 2)
    (inputs,) = sets(1)

    with pytest.raises(BackendError) as failed, prepared.context(), prepared.steady_context():
        prepared.call(inputs)

    told = str(failed.value).partition("\n")[0]
    assert told.startswith("recompile in the measured loop: forward (tests/support/specimens.py:")
    assert "guard `G['SCALE'] == 1` failed, tests/support/specimens.py:" in told
    assert "`return super().forward(x) * SCALE`" in told


# -- graph breaks


@pytest.mark.parametrize(
    "name", ["ByMean", "ByWhile", "ByItem", "ByWhileInside", "ByAny", "Looped", "InTry"]
)
def test_an_undeclared_break_fails_with_its_line_and_a_declared_one_is_in_order(prepare, name):
    model = getattr(specimens_compile, name)
    prepared = prepare(model())
    answer(prepared, sets())
    place = marked(specimens_compile.Block if name == "Looped" else model)
    with pytest.raises(
        BackendError,
        match=rf"^graph break: 1 found, 0 declared \({re.escape(place)} .*graph_breaks=1",
    ):
        prepared.facts()

    declared = prepare(model(), graph_breaks=1)
    answer(declared, sets())
    assert declared.facts()["graph_breaks"] == 1


def test_the_other_branch_of_a_declared_break_is_no_recompile(prepare):
    prepared = prepare(specimens_compile.ByFirst(), graph_breaks=1)
    inputs = sets()
    inputs[-1][0][0, 0] = -1.0
    answer(prepared, inputs)
    found = prepared.facts()
    assert (found["graphs"], found["graph_breaks"], found["recompiles"]) == (3, 1, 0)


def test_layers_that_share_a_function_and_its_break_are_no_recompiles(prepare):
    prepared = prepare(specimens_compile.Layers(), graph_breaks=1)
    answer(prepared, sets())
    assert prepared.facts()["recompiles"] == 0


def test_a_number_taken_out_of_a_tensor_recompiles_though_its_break_is_declared(prepare):
    prepared = prepare(specimens_compile.Taken(), graph_breaks=1)
    answer(prepared, sets())
    place = re.escape(marked(specimens_compile.Taken))
    with pytest.raises(
        BackendError, match=rf"recompile .* guard `___stack1 == .* failed, {place} "
    ):
        prepared.facts()


def test_many_breaks_are_told_with_their_number_and_the_first_ones():
    breaks = [
        compilation.GraphBreak(f"net.py:{line}", "kind", "kind\n  reason") for line in range(4)
    ]
    told = str(compiled._undeclared(breaks, 1))
    listed = "net.py:0: kind; net.py:1: kind; net.py:2: kind; and 1 more"
    assert told.startswith(f"graph break: 4 found, 1 declared ({listed})")
    assert told.endswith("net.py:3: kind\n  reason")


# -- fallbacks


@pytest.mark.parametrize("name", ["BreakInLoop", "BranchInLoop", "BreakInManager"])
def test_a_model_that_torch_gives_up_fails_with_the_line_though_a_break_is_declared(prepare, name):
    model = getattr(specimens_compile, name)
    prepared = prepare(model(), graph_breaks=1)
    answer(prepared, sets())
    told = rf"^fallback: torch.compile captured no graph, the model ran in eager: {re.escape(marked(model))} `.*"
    with pytest.raises(BackendError, match=told):
        prepared.facts()


@pytest.mark.parametrize("breaks", [0, 1])
def test_a_disabled_model_fails_with_its_line(prepare, breaks):
    prepared = prepare(specimens_compile.Disabled(), graph_breaks=breaks)
    answer(prepared, sets())
    with pytest.raises(
        BackendError, match=r"captured no graph.*specimens_compile.py:\d+ `@torch.compiler.disable`"
    ):
        prepared.facts()

    alone = prepare(specimens_compile.DisabledAlone(), graph_breaks=breaks)
    answer(alone, sets())
    with pytest.raises(
        BackendError,
        match=r"^fallback: .* its forward ran in eager: tests/support/specimens_compile.py:\d+ `@torch",
    ):
        alone.facts()


def test_where_dynamo_is_off_that_is_the_reason(prepare):
    torch._dynamo.config.disable = True
    prepared = prepare(specimens_compile.Plain())
    answer(prepared, sets())
    with pytest.raises(
        BackendError, match=r"captured no graph, .* torch._dynamo.config.disable is set"
    ):
        prepared.facts()


def test_an_error_while_compiling_is_raised_though_the_model_suppresses_it(prepare, monkeypatch):
    def broken(graph, inputs):
        raise ValueError("no such kernel")

    torch._dynamo.config.suppress_errors = True
    monkeypatch.setattr(
        torch, "compile", lambda model, mode, dynamic: REAL(model, backend=broken, dynamic=dynamic)
    )
    prepared = prepare(specimens_compile.Plain())
    with pytest.raises(Exception, match="no such kernel"):
        answer(prepared, sets())


def test_a_stance_that_takes_eager_for_a_recompile_is_taken_back(prepare):
    torch.compiler.set_stance("eager_on_recompile")
    prepared = prepare(specimens_compile.Counter())
    answer(prepared, sets(2))
    with pytest.raises(BackendError, match="recompile between calls"):
        prepared.facts()


# -- recurrent layers


KINDS = [nn.RNN, nn.GRU, nn.LSTM]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_models_that_torch_does_not_take_are_skipped_with_advice(
    prepare, kind, batch_first
):
    for model in (
        kind(16, 8, batch_first=batch_first),
        specimens_compile.Recurrent(kind, batch_first=batch_first),
    ):
        prepared = prepare(model, graph_breaks=1)
        answer(prepared, sets(2, (4, 8, 16)))
        with pytest.raises(UnavailableError) as skipped:
            prepared.facts()
        assert str(skipped.value).startswith(
            "torch.compile takes no RNN by default, the model would run in eager: "
        )
        assert "torch._dynamo.config.allow_rnn = True in the model's module" in str(skipped.value)
        where = (
            marked(specimens_compile.Recurrent)
            if isinstance(model, specimens_compile.Recurrent)
            else kind.__name__
        )
        assert where in str(skipped.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recurrent_part_is_a_break_with_advice(prepare, kind):
    prepared = prepare(specimens_compile.WithEncoder(kind, batch_first=True))
    answer(prepared, sets(2, (4, 8, 16)))
    place = re.escape(marked(specimens_compile.Encoder))
    with pytest.raises(
        BackendError, match=rf"^graph break: 1 found, 0 declared \({place} .*allow_rnn = True"
    ):
        prepared.facts()

    declared = prepare(specimens_compile.WithEncoder(kind, batch_first=True), graph_breaks=1)
    answer(declared, sets(2, (4, 8, 16)))
    assert declared.facts()["graphs"] == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_models_that_are_allowed_are_captured_as_a_whole(prepare, kind, batch_first):
    torch._dynamo.config.allow_rnn = True
    for model in (
        kind(16, 8, batch_first=batch_first),
        specimens_compile.WithEncoder(kind, batch_first=batch_first),
    ):
        torch._dynamo.reset()
        prepared = prepare(model)
        inputs = sets(2, (4, 8, 16))
        answers = answer(prepared, inputs)
        found = prepared.facts()
        assert (found["graphs"], found["graph_breaks"]) == (1, 0)
        with torch.inference_mode():
            expected = model(*inputs[1])
        first = expected[0] if isinstance(expected, tuple) else expected
        torch.testing.assert_close(answers[1][0], first)


# -- what is compiled already


def function_script():
    return torch.jit.trace(lambda x: x * 2, torch.zeros(8, 16))


def compiled_function():
    return REAL(lambda x: x * 2, backend="eager")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "made", [specimens_compile.scripted, specimens_compile.traced, function_script]
)
def test_torchscript_is_not_for_compile(made):
    reason = compiled.unsuitable(made())
    assert re.match(
        r"the model is a TorchScript module \(\w+\); torch.compile takes Python modules: use",
        reason,
    )


@pytest.mark.parametrize(
    "made", [specimens_compile.optimized, specimens_compile.compiled_in_place, compiled_function]
)
def test_what_torch_compile_has_made_is_not_compiled_again(made):
    assert re.match(
        r"the model \(\w+\) was compiled by torch.compile already; use",
        compiled.unsuitable(made()),
    )


def test_what_is_unsuitable_is_skipped_and_python_models_are_not(prepare):
    with pytest.raises(UnavailableError, match=r"was compiled by torch.compile already"):
        prepare(REAL(specimens_compile.Plain(), backend="eager"))
    part = specimens_compile.Wrapped()
    part.part = REAL(part.part, backend="eager")
    for model in (
        specimens_compile.Plain(),
        specimens_compile.traced_by_fx(),
        lambda x: x * 2,
        part,
    ):
        assert compiled.unsuitable(model) is None
