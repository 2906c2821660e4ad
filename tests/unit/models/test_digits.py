"""The real digits and the network trained on them: what it is right about, and its cache."""

import warnings

import pytest
import torch

from models import digits
from models.cnn import DigitsCNN
from models.weights import Weights
from tests.support.damage import DAMAGES


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARITYGATE_CACHE", str(tmp_path))
    return tmp_path / "weights"


@pytest.fixture
def trainings(monkeypatch):
    """Counts how often ``train`` runs; every one is cut down to the first epoch."""
    calls = []
    real = digits.train

    def counted(
        epochs: int = 12, lr: float = 0.01, momentum: float = 0.9, batch: int = 256, seed: int = 0
    ):
        calls.append({"epochs": epochs, "lr": lr})
        return real(1, lr, momentum, batch, seed)

    monkeypatch.setattr(digits, "train", counted)
    return calls


def equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_all_digits_are_in_one_part_and_classes_keep_their_shares():
    learn, held = digits.load()
    assert learn.images.shape == (1437, 1, 16, 16)
    assert held.images.shape == (360, 1, 16, 16)
    everything = torch.cat([learn.labels, held.labels]).bincount()
    assert (held.labels.bincount() - everything / 5).abs().max() <= 1
    assert torch.equal(digits.load()[1].images, held.images)


def test_no_held_out_digit_is_among_those_to_learn_from():
    from sklearn.datasets import load_digits

    learn, held = digits.load(standardised=False)
    original = torch.from_numpy(load_digits().images).float().flatten(1) / 16
    found = torch.cat([learn.images, held.images])[:, 0, ::2, ::2].flatten(1)
    assert sorted(found.tolist()) == sorted(original.tolist())


def test_pixels_are_doubled_and_scaled():
    learn, _ = digits.load(standardised=False)
    assert learn.images.min() == 0
    assert learn.images.max() == 1
    assert torch.equal(learn.images[..., ::2, ::2], learn.images[..., 1::2, 1::2])
    learn, _ = digits.load()
    assert abs(learn.images.mean()) < 1e-5
    assert abs(learn.images.std() - 1) < 1e-5


def test_training_is_deterministic_and_leaves_the_random_state_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    with torch.inference_mode():
        first = digits.train(epochs=1, batch=256)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert equal(first, digits.train(epochs=1, batch=256))
    assert not equal(first, digits.train(epochs=1, batch=256, seed=1))


def test_the_second_call_loads_what_the_first_one_wrote(cache, trainings):
    first = digits.weights()
    assert equal(first, digits.weights())
    assert len(trainings) == 1
    assert len(list(cache.iterdir())) == 1


def test_other_hyperparameters_are_another_file(cache, trainings):
    digits.weights()
    digits.weights(lr=0.02)
    assert [call["lr"] for call in trainings] == [0.01, 0.02]
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", DAMAGES)  # one bit of a number: torch.load would not notice
def test_a_damaged_file_is_made_anew(cache, trainings, damage):
    first = digits.weights()
    (path,) = cache.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="damaged"):
        assert equal(digits.weights(), first)
    with warnings.catch_warnings(action="error"):
        assert equal(digits.weights(), first)
    assert len(trainings) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, trainings, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PARITYGATE_CACHE", str(tmp_path / "file"))
    DigitsCNN().load_state_dict(digits.weights())
    digits.weights()

    assert len(trainings) == 2, "each time anew"


def test_without_the_variable_the_cache_is_below_the_working_folder(
    tmp_path, trainings, monkeypatch
):
    monkeypatch.delenv("PARITYGATE_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    digits.weights()
    assert len(list((tmp_path / ".paritygate" / "cache" / "weights").iterdir())) == 1


def test_samples_are_real_held_out_digits():
    (images,) = digits.digit_images({"batch": 5}, torch.Generator().manual_seed(0))
    _, held = digits.load()
    assert images.shape == (5, 1, 16, 16)
    assert all(any(torch.equal(image, real) for real in held.images) for image in images)
