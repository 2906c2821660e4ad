"""Facts that are compared exactly: counted right, and the same from one process to the next."""

import inspect
import os
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from paritygate.runtime import compilation, facts
from tests.support import specimens_compile


def test_shared_weights_count_once():
    one = nn.Linear(3, 4)
    assert facts.parameters(nn.Sequential(one, one)) == 16


def test_parts_with_a_mode_of_their_own_are_named_once():
    model = nn.Sequential(
        nn.Linear(2, 2), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)), nn.Dropout()
    )
    assert facts.other_mode(model, training=True) == {}
    model[1].eval()
    model[2].eval()
    assert facts.other_mode(model, training=True) == {"in_eval": ["1", "2"]}
    assert facts.other_mode(model.eval(), training=True) == {"in_eval": ["the whole model"]}
    model[1][0].train()
    assert facts.other_mode(model, training=False) == {"in_training": ["1.0"]}


def test_operations_are_counted_also_inside_attention():
    x, weight = torch.rand(8, 16), torch.rand(16, 32)
    assert facts.flops(lambda: x @ weight) == 2 * 8 * 16 * 32
    query = torch.rand(2, 4, 10, 16)
    both_products = 2 * (2 * 2 * 4 * 10 * 10 * 16)
    assert (
        facts.flops(lambda: functional.scaled_dot_product_attention(query, query, query))
        == both_products
    )


def test_what_cannot_be_counted_is_unknown_and_no_error():
    assert facts.flops(lambda: 1 / 0) is None
    assert facts.graph_hash(lambda: 1 / 0) is None


def test_the_attention_kernel_that_ran_is_told_by_profile():
    query = torch.rand(1, 2, 8, 16)

    def attend(kernel):
        with torch.nn.attention.sdpa_kernel(kernel), torch.inference_mode():
            return facts.sdpa_kernels(
                lambda: functional.scaled_dot_product_attention(query, query, query)
            )

    assert attend(torch.nn.attention.SDPBackend.FLASH_ATTENTION) == {"flash": 1}
    assert attend(torch.nn.attention.SDPBackend.MATH) == {"math": 1}
    assert facts.sdpa_kernels(lambda: query + 1) == {}


def test_the_graph_hash_is_of_the_work_and_not_of_the_numbers():
    def work(model, rows=4):
        with torch.inference_mode():
            return facts.graph_hash(lambda: model(torch.rand(rows, 8)))

    one = work(nn.Linear(8, 2))
    assert one == work(nn.Linear(8, 2))
    wider, longer, deeper = (
        nn.Linear(8, 3),
        nn.Linear(8, 2),
        nn.Sequential(nn.Linear(8, 2), nn.ReLU()),
    )
    assert len({one, work(wider), work(longer, rows=5), work(deeper)}) == 4


def test_settings_see_every_change_that_a_backend_could_make():
    before = facts.settings()
    changes = [
        (
            lambda: torch.set_num_threads(before["threads"] + 1),
            lambda: torch.set_num_threads(before["threads"]),
        ),
        (
            lambda: torch.set_float32_matmul_precision("medium"),
            lambda: torch.set_float32_matmul_precision("highest"),
        ),
        (lambda: torch.set_flush_denormal(True), lambda: torch.set_flush_denormal(False)),
        (
            lambda: torch.use_deterministic_algorithms(True),
            lambda: torch.use_deterministic_algorithms(False),
        ),
        (
            lambda: torch.set_default_dtype(torch.float64),
            lambda: torch.set_default_dtype(torch.float32),
        ),
        (lambda: torch.set_grad_enabled(False), lambda: torch.set_grad_enabled(True)),
    ]
    for change, back in changes:
        change()
        try:
            assert facts.settings() != before
        finally:
            back()
    assert facts.settings() == before


def test_operators_of_a_gpu_are_timed_there_and_not_by_their_launching(monkeypatch):
    asked = []

    class Profile:
        def __init__(self, use_device=None):
            asked.append(use_device)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def key_averages(self):
            host, gpu = torch.autograd.DeviceType.CPU, torch.autograd.DeviceType.CUDA
            times = {"self_cpu_time_total": 50.0, "self_device_time_total": 5000.0}
            kernel = {"self_cpu_time_total": 0.0, "self_device_time_total": 5000.0}
            return [
                SimpleNamespace(key="aten::mm", device_type=host, **times),
                *(
                    [SimpleNamespace(key="sm90_gemm", device_type=gpu, **kernel)]
                    if asked[-1]
                    else []
                ),
            ]

    monkeypatch.setattr(torch.autograd.profiler, "profile", Profile)

    assert facts.operator_times(lambda: None, "cuda") == {"aten::mm": pytest.approx(1e-3)}
    assert facts.operator_times(lambda: None) == {"aten::mm": pytest.approx(1e-5)}
    assert asked == ["cuda", None]


# -- what dynamo did


@pytest.fixture
def dynamo():
    """Counts what calls of a model compile, on input sets that differ in their values only."""

    def counted(model, calls=2, **compile_options):
        torch._dynamo.reset()
        torch.manual_seed(0)
        model = model() if inspect.isclass(model) or inspect.isfunction(model) else model
        counters = compilation.CompileCounters(model)
        compiled = torch.compile(model.eval(), backend="eager", dynamic=False, **compile_options)
        with torch.inference_mode():
            for number in range(calls):
                compiled(torch.randn(8, 16) + number)
        return counters

    yield counted
    torch._dynamo.reset()


BRANCH, ITEM = "Data-dependent branching", "Unsupported Tensor.item() call"
CALL = "Call to `torch._dynamo.graph_break()`"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ByMean", BRANCH),
        ("ByFirst", BRANCH),
        ("ByAny", BRANCH),
        ("ByWhile", BRANCH),
        ("ByWhileInside", BRANCH),
        ("ByItem", ITEM),
        ("Taken", ITEM),
        ("Explicit", CALL),
        ("InContext", CALL),
        ("Printing", "Failed to trace builtin"),
        ("PartDisabled", "Skip inlining `torch.compiler.disable()`d function"),
        (
            "InTry",
            "the rest of the function runs in eager: torch cannot resume here (Data-dependent branching)",
        ),
        ("BreakInLoop", CALL),
        ("BranchInLoop", BRANCH),
        ("BreakInManager", "Failed to trace builtin"),
    ],
)
def test_a_graph_break_is_counted_once_and_named_with_its_line(dynamo, name, kind):
    model = getattr(specimens_compile, name)

    (broken,) = dynamo(model).breaks()

    place = specimens_compile.marked(model)
    assert broken.place.startswith(f"{place} `")
    assert broken.place.endswith("# here`"), "the line itself"
    assert broken.kind.startswith(kind)


def test_a_break_in_a_part_of_the_model_has_the_place_of_the_part(dynamo):
    (broken,) = dynamo(specimens_compile.Wrapped).breaks()
    assert broken.place.startswith(specimens_compile.marked(specimens_compile.ByMean))


@pytest.mark.parametrize("name", ["Layers", "Looped"])
def test_a_break_that_every_layer_has_is_one_and_the_function_it_ends_is_told(dynamo, name):
    counters = dynamo(getattr(specimens_compile, name))

    (broken,) = counters.breaks()

    assert broken.place.startswith(specimens_compile.marked(specimens_compile.Block))
    assert counters.facts()["graphs"] > 2
    if name == "Looped":
        (function,) = broken.eager
        assert function.startswith("forward (tests/support/specimens_compile.py:")
        assert f"(in eager as a whole: {function})" in str(broken)
    else:
        assert broken.eager == ()


def test_labels_of_torch_beside_the_break_they_stand_for_count_once():
    """Python 3.12 inlines comprehensions; DDP cuts its graphs."""
    counters = compilation.CompileCounters()
    stack = [SimpleNamespace(filename="net.py", lineno=7)]

    def found(*reasons):
        counters._reasons = [SimpleNamespace(reason=reason, user_stack=stack) for reason in reasons]
        return [str(broken) for broken in counters.breaks()]

    assert found("comprehension_graph_break", "Unsupported\n  why") == ["net.py:7: Unsupported"]
    assert found("comprehension_graph_break") == ["net.py:7: a graph break in a comprehension"]
    assert found("DDPOptimizer intentional graph-break") == []
    assert found("generic_jump TensorVariable()", "Data-dependent branching\n  why") == [
        f"net.py:7: {BRANCH}"
    ]


def test_breaks_are_facts_by_place_and_reason(dynamo):
    found = dynamo(lambda: specimens_compile.Wrapped(specimens_compile.Printing)).facts()
    assert found["graph_breaks"] == 1
    ((reason, count),) = found["graph_break_reasons"].items()
    assert (reason.startswith(specimens_compile.marked(specimens_compile.Printing)), count) == (
        True,
        1,
    )


@pytest.mark.parametrize(
    "name", ["Plain", "Asserting", "Generating", "Stateful", "Changing", "NoGrad", "Hooked"]
)
def test_where_no_graph_breaks_and_nothing_recompiles_none_is_counted(dynamo, name):
    counters = dynamo(getattr(specimens_compile, name), calls=4)
    assert (counters.breaks(), counters.recompiles(), counters.overlooked()) == ([], [], None)


@pytest.mark.parametrize(
    ("name", "guard"),
    [
        ("Counter", "self.calls == 0"),
        ("Growing", "not self.log"),
        ("Decaying", "self.scale == 1.0"),
        ("GlobalCounter", "G['TIMES'] == "),
        ("Taken", "___stack1 == "),
    ],
)
def test_a_recompile_is_told_with_its_guard_and_line(dynamo, name, guard):
    model = getattr(specimens_compile, name)

    first, second = dynamo(model, calls=3).recompiles()

    assert first.guard.startswith(guard)
    assert first.place.startswith(f"{specimens_compile.marked(model)} `")
    assert first.frame.startswith("forward (tests/support/specimens_compile.py:")
    assert str(first) == f"{first.frame}: guard `{first.guard}` failed, {first.place}"
    assert second.guard != first.guard


def test_what_the_first_call_compiles_again_can_be_told_from_the_rest(dynamo):
    counters = dynamo(specimens_compile.Layers, calls=1)
    once = counters.compiled()
    assert len(counters.recompiles()) >= 2, "three widths of one function"
    assert counters.recompiles(since=once) == []


def test_guards_are_read_as_other_releases_of_torch_word_them():
    size = compilation.Recompile.from_reason(
        "forward (net.py:3)", "0/0: tensor 'x' size mismatch at index 0. expected 8, actual 4"
    )
    assert (
        str(size)
        == "forward (net.py:3): guard `tensor 'x' size mismatch at index 0. expected 8, actual 4` failed"
    )
    commented = "0/1: self.n == 2   # self.n += 1  # src/net.py:5 in forward (HINT: x)"
    short = compilation.Recompile.from_reason("forward (net.py:3)", commented)
    assert (short.guard, short.place) == ("self.n == 2", "self.n += 1  # src/net.py:5 in forward")
    unknown = compilation.Recompile.from_stance(
        "Detected recompile when torch.compile stance is 'fail_on_recompile'."
    )
    assert str(unknown) == "a frame was not compiled before, or torch names no guard"
    new = compilation.Recompile.from_stance(
        "x. filename: '/a/net.py', function name: 'f', line number: 7"
    )
    assert str(new) == "f (/a/net.py:7) was not compiled before, or torch names no guard"


def test_more_compilations_are_kept_than_torch_keeps(dynamo):
    torch._dynamo.utils.set_compilation_metrics_limit(3)  # for its 64, which take long to compile
    counters = dynamo(specimens_compile.Counter, calls=6)
    assert (counters.compiled(), len(counters.recompiles())) == (6, 5)
    assert torch._dynamo.utils._compilation_metrics.maxlen > 10_000


@pytest.mark.parametrize(
    "name",
    [
        "Plain",
        "NoGrad",
        "Decorated",
        "Called",
        "Replaced",
        "Hooked",
        "traced_by_fx",
        "sequential",
        "ByMean",
        "Layers",
        "BreakInLoop",
    ],
)
def test_a_model_whose_own_function_was_compiled_or_given_up_is_not_overlooked(dynamo, name):
    assert dynamo(getattr(specimens_compile, name)).overlooked() is None


def test_a_model_of_which_only_helpers_were_compiled_is_told(dynamo):
    counters = dynamo(specimens_compile.DisabledAlone)
    assert (counters.facts()["graphs"], counters.breaks()) == (1, []), (
        "torch has no other word of it"
    )
    assert counters.overlooked().startswith("tests/support/specimens_compile.py:")


def test_files_are_named_from_the_working_directory_or_where_packages_are_installed():
    def named(file):
        return compilation.Recompile.from_stance(
            f"filename: '{file}', function name: 'f', line number: 7"
        ).frame

    outside = os.path.join(os.sep, "elsewhere", "net.py")
    assert named(os.path.join(os.getcwd(), "net.py")) == "f (net.py:7)"
    assert named(outside) == f"f ({outside}:7)"
    assert named("/usr/lib/python3/dist-packages/some/net.py") == "f (some/net.py:7)"
    assert (
        named(os.path.join(os.getcwd(), ".venv/lib/python3.11/site-packages/some/net.py"))
        == "f (some/net.py:7)"
    )
