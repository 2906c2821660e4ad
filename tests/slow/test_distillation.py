"""Distillation of sentences in small: what a student learns comes from its teacher, and is kept."""

import itertools

import pytest
import torch

from models import distillation, text, training_data, weights

RATE = distillation.STUDENT_RATE


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARITYGATE_CACHE", str(tmp_path))


def some_steps(count=3):
    return itertools.islice(training_data.sentence_epochs(distillation.SIZES), count)


class Stubborn(torch.nn.Module):
    """Says the same to everything, surely."""

    def __init__(self, praise):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor([-6.0, 6.0] if praise else [6.0, -6.0]))

    def forward(self, input_ids, **_):
        return self.logits.expand(len(input_ids), 2)


def praised(given, steps):
    """The share of sentences that a tiny BERT of these weights praises."""
    model = distillation._with(text.tiny, given)
    with torch.no_grad():
        answers = torch.cat([model(**inputs).argmax(1) for inputs, _ in steps])
    return answers.double().mean().item()


@pytest.mark.parametrize("praise", [True, False])
def test_a_student_takes_after_its_teacher_also_where_that_is_wrong(praise):
    """Half of the labels say otherwise."""
    taught = distillation.train_weights(
        text.tiny, distillation.by_teacher(Stubborn(praise)), RATE, some_steps(25)
    )

    assert praised(taught, some_steps()) == pytest.approx(1.0 if praise else 0.0, abs=0.05)


def test_the_rate_rises_to_the_given_one_and_falls_to_nothing(monkeypatch):
    rates = []

    class Watched(torch.optim.AdamW):
        def step(self):
            rates.append(self.param_groups[0]["lr"])
            super().step()

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    distillation.train_weights(lambda: Stubborn(True), distillation.by_labels, 0.1, some_steps(20))

    highest = rates.index(max(rates))
    assert rates[0] == 0.0
    assert highest == 20 * distillation.WARMUP
    assert rates[highest] == pytest.approx(0.1)
    assert rates[highest:] == sorted(rates[highest:], reverse=True)
    assert rates[-1] == pytest.approx(0.1 / 18)


def test_learning_leaves_the_random_state_alone_and_gives_the_same_again():
    before = torch.get_rng_state()
    first, second = (
        distillation.train_weights(text.tiny, distillation.by_labels, RATE, some_steps(2))
        for _ in range(2)
    )

    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_teacher_and_student_are_made_once_and_kept(monkeypatch):
    made = []

    def train_weights(make, loss, rate):
        made.append(make)
        return distillation.weights.Weights(make().state_dict())

    monkeypatch.setattr(distillation, "train_weights", train_weights)
    for _ in range(2):
        student = distillation.student(distillation.teacher())

    assert made == [text.mini, text.tiny]
    facts = student.facts()
    assert facts["size_bytes"] < facts["original_bytes"] / 3
    assert facts["size_bytes"] == weights.size(student.model.state_dict())


def test_the_inputs_are_sentences_without_labels():
    inputs = distillation.sentences({"batch": 5}, torch.Generator().manual_seed(0))
    assert set(inputs) == {"input_ids", "attention_mask", "token_type_ids"}
    assert len(inputs["input_ids"]) == 5
