"""Which weights the check would notice if they were wrong: counted, named, kept by content,
shown.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm

from paritygate.core.case import Case
from paritygate.runtime.subject import BoundCase
from paritygate.timing import diagnostics
from paritygate.worker import mutation, reference
from paritygate_reports.view import sections
from tests.support.rig import task_of


class Seen(nn.Module):
    """Every weight reaches the answer."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(16, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.out(self.hidden(x).tanh())


class Unreached(Seen):
    """Some weights reach nothing: one is not used, the other is cancelled."""

    def __init__(self):
        super().__init__()
        self.unused, self.shift = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(4, 1))

    def forward(self, x):
        return (
            super().forward(x) - super().forward(x) * 0 + (self.shift - self.shift).sum()
        ).softmax(-1)


class Faint(Seen):
    """One part adds so little that nobody would notice."""

    def __init__(self):
        super().__init__()
        self.faint = nn.Linear(16, 4)

    def forward(self, x):
        return super().forward(x) + 1e-6 * self.faint(x)


class Constant(nn.Module):
    """Has no weights but such as bfloat16 holds as they are."""

    def __init__(self):
        super().__init__()
        self.gain, self.shift = (
            nn.Parameter(torch.ones(16)),
            nn.Parameter(torch.full((4, 16), 0.5).t()),
        )

    def forward(self, x):
        return (x * self.gain) @ self.shift + x[:, :4]


class Weightless(nn.Module):
    def forward(self, x):
        return x * 2


class Whole(Seen):
    """Parameters that are no floats, or empty, are not for rounding."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.arange(4), requires_grad=False)
        self.none = nn.Parameter(torch.empty(0))

    def forward(self, x):
        return super().forward(x) + self.table


class Tied(nn.Module):
    """One weight in two places is one weight."""

    def __init__(self):
        super().__init__()
        self.into, self.back = nn.Linear(16, 16), nn.Linear(16, 16)
        self.back.weight = self.into.weight

    def forward(self, x):
        return self.back(self.into(x).tanh())


class Casting(Seen):
    """Casts to float32 inside."""

    def forward(self, x):
        return self.out(self.hidden(x).float().tanh().to(x.dtype))


class Counting(Seen):
    """Keeps a state on which the answer depends."""

    def __init__(self):
        super().__init__()
        self.register_buffer("past", torch.zeros(4))

    def forward(self, x):
        y = super().forward(x) + self.past
        self.past.add_(y.mean(0))
        return y


def normed():
    """A weight that is computed, and that deepcopy refuses before it has been."""
    made = Seen()
    made.hidden = weight_norm(made.hidden)
    return made


def reading():
    """An embedding of which a few rows are read only, and padding."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(24, 4))


def rows(sizes, generator):
    return (torch.randn(sizes["batch"], 16, generator=generator),)


def words(sizes, generator):
    return (torch.randint(0, 50, (sizes["batch"], 3), generator=generator),)


def subject(
    tmp_path,
    model="Seen",
    seed=0,
    shape="b8",
    inputs="rows",
    dtype="fp32",
    folder="scratch",
    **declared,
):
    case = Case(
        "c",
        model=f"{__name__}:{model}",
        inputs=f"{__name__}:{inputs}",
        shapes={"b8": {"batch": 8}, "b2": {"batch": 2}},
        **declared,
    )
    return BoundCase.from_task(
        task_of(
            case,
            tmp_path / folder,
            shape=shape,
            dtype_name=dtype,
            backend="",
            cache=str(tmp_path / "cache"),
            seed=seed,
        )
    )


pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")


@pytest.fixture
def score(tmp_path):
    """The score of a model, measured while its reference is made."""

    def of(model="Seen", **options):
        made = reference.make(
            subject(tmp_path, model, **options), {}, lambda *_, **__: None, mutate=True
        )
        assert made.unchecked == ""
        return made.facts.get("mutation")

    return of


@pytest.mark.parametrize("model", ["Seen", "Casting", "Counting", "Whole"])
def test_where_every_weight_counts_all_are_noticed(score, model):
    assert score(model) == {"weights": 4, "noticed": 1.0, "unnoticed": [], "without_effect": []}


def test_weights_that_reach_nothing_are_named_and_do_not_count(score):
    found = score("Unreached")
    assert found["without_effect"] == ["unused", "shift"]
    assert (found["weights"], found["noticed"], found["unnoticed"]) == (4, 1.0, [])


def test_weights_that_hardly_count_go_unnoticed_and_are_named(score):
    found = score("Faint")
    assert found["unnoticed"] == ["faint.weight", "faint.bias"]
    assert (found["weights"], found["noticed"]) == (6, pytest.approx(4 / 6))
    assert found["without_effect"] == []


def test_weights_that_bfloat16_holds_are_moved_otherwise(score):
    assert score("Constant") == {
        "weights": 2,
        "noticed": 1.0,
        "unnoticed": [],
        "without_effect": [],
    }


def test_a_model_without_weights_has_nothing_to_notice(score):
    assert score("Weightless") == {
        "weights": 0,
        "noticed": 1.0,
        "unnoticed": [],
        "without_effect": [],
    }


def test_a_weight_in_two_places_is_one(score):
    assert (score("Tied")["weights"], score("Tied")["noticed"]) == (3, 1.0)


def test_a_weight_that_is_computed_is_measured_by_what_it_is_computed_of(score):
    assert score("normed") == {"weights": 5, "noticed": 1.0, "unnoticed": [], "without_effect": []}


def test_a_table_of_which_some_rows_are_read_is_noticed(score):
    assert score("reading", inputs="words")["unnoticed"] == []


def test_the_model_is_as_it_was_afterwards(tmp_path):
    one = subject(tmp_path)
    reference.make(one, {}, lambda *_, **__: None)
    module = one.module()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    done = []
    mutation.score(one, module, one.inputs(), lambda: done.append(1))
    assert len(done) == 4, "one for each weight"
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


# -- kept by content


@pytest.fixture
def outcomes(monkeypatch):
    """The names of the weights that were perturbed, as they were."""
    seen, real = [], mutation._outcome
    monkeypatch.setattr(mutation, "_outcome", lambda *args: seen.append(args[2]) or real(*args))
    return seen


def test_a_score_is_kept_and_read_again(score, outcomes, tmp_path):
    first = score("Faint")
    assert len(outcomes) == 6
    assert score("Faint", folder="another") == first
    assert len(outcomes) == 6, "nothing was measured again"
    (kept,) = (tmp_path / "cache" / "mutation").glob("*.json")
    kept.write_text(json.dumps(first | {"weights": 99}))
    assert score("Faint")["weights"] == 99


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"model": "Casting"},
        {"tolerance": "fp32_folded"},
        {"nonfinite": True},
        {"output_mask": f"{__name__}:first_rows"},
    ],
    ids=str,
)
def test_a_score_of_other_weights_code_or_rules_is_measured_anew(score, outcomes, other):
    score()
    assert len(outcomes) == 4
    score(**other)
    assert len(outcomes) == 8


def first_rows(x):
    return torch.arange(len(x)) < 2


def test_a_score_depends_on_the_files_of_the_rule(score, outcomes, monkeypatch):
    score()
    monkeypatch.setattr(mutation, "_rule", lambda: "another rule")
    score()
    assert len(outcomes) == 8


# -- of which groups


@pytest.mark.parametrize(
    ("options", "measurable"),
    [
        ({}, True),
        ({"shape": "b2"}, False),
        ({"dtype": "bf16"}, False),
        ({"reference": "eager"}, False),
        ({"mode": "backward"}, False),
        ({"tolerance": "fp32_folded"}, True),
    ],
    ids=str,
)
def test_the_first_shape_in_float32_of_a_model_that_answers_is_measured(
    tmp_path, options, measurable
):
    one = subject(tmp_path, **options)
    assert mutation.measurable(one, one.build()) is measurable
    assert not mutation.measurable(one, lambda x: x), "a function has no weights that are known"


def test_nothing_is_measured_unless_asked_for(tmp_path, outcomes):
    made = reference.make(subject(tmp_path), {}, lambda *_, **__: None)
    assert "mutation" not in made.facts
    assert outcomes == []


# -- told


FOUND = {"weights": 8, "noticed": 0.5, "unnoticed": ["a", "b", "c", "d"], "without_effect": ["e"]}


def test_many_weights_that_go_unnoticed_are_a_warning():
    (warning,) = diagnostics.model_warnings({"mutation": FOUND})
    assert warning.startswith("insensitive: 50% of 8 weights could be wrong")
    assert "(a, b, c, and 1 more)" in warning
    assert diagnostics.model_warnings({"mutation": FOUND | {"noticed": 0.95}}) == []
    assert diagnostics.model_warnings({}) == []


def test_reports_have_a_line_for_each_group_with_the_names():
    def record(case, shape, found):
        return SimpleNamespace(case=case, shape=shape, facts={"mutation": found} if found else {})

    records = [
        record("net", "b8", FOUND),
        record("net", "b8", FOUND),
        record("net", "b1", None),
        record("other", "b8", FOUND | {"noticed": 1.0, "unnoticed": []}),
        record("none", "b8", FOUND | {"weights": 0}),
    ]
    first, second = sections._mutations(records)
    assert "net  b8: 50.0% of 8" in str(first)
    assert "unnoticed: a, b, c, d" in str(first)
    assert "other  b8: 100.0% of 8" in str(second)
    assert "unnoticed" not in str(second)


# -- asked for


def test_a_score_is_kept_by_every_file_that_the_rule_is_made_of(tmp_path, monkeypatch):
    """A copy of the folder stands in for it, in which each file is changed in turn."""
    folder = tmp_path / "parity"
    shutil.copytree(
        Path(mutation.rule.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(mutation.rule, "__file__", str(folder / "rule.py"))
    digests = {mutation._rule()}
    files = sorted(folder.iterdir())
    for path in files:
        path.write_text(path.read_text() + "\n")
        digests.add(mutation._rule())

    assert {"rule.py", "parts.py", "tolerances.csv"} <= {path.name for path in files}
    assert len(digests) == len(files) + 1
