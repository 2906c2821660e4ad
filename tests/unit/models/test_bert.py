"""BERT: its sizes, its inputs, that attention and mask matter, and checkpoints from a folder."""

import copy

import pytest
import torch

from models import bert

SIZES = {"batch": 16, "seq": 64}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return bert.tiny().eval()


def distance(answer: torch.Tensor, right: torch.Tensor) -> float:
    return (torch.linalg.norm(answer.double() - right) / torch.linalg.norm(right)).item()


@pytest.mark.parametrize(
    ("model", "layers", "width", "heads", "count"),
    [(bert.tiny, 2, 128, 2, 4_386_178), (bert.mini, 4, 256, 4, 11_171_074)],
)
def test_sizes(model, layers, width, heads, count):
    classifier = model()
    config = classifier.model.config
    found = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads)
    assert found == (layers, width, heads)
    assert (
        config.hidden_dropout_prob
        == config.attention_probs_dropout_prob
        == config.classifier_dropout
        == 0
    )
    assert config._attn_implementation == "sdpa"
    assert sum(parameter.numel() for parameter in classifier.parameters()) == count


def test_base_has_the_size_of_bert_base():
    with torch.device("meta"):
        model = bert.base()
    assert sum(parameter.numel() for parameter in model.parameters()) == 109_483_778


def test_the_answer_is_the_logits_and_float64_agrees(tiny):
    inputs = bert.padded_mask(SIZES, seeded())
    with torch.inference_mode():
        logits, exact = tiny(**inputs), copy.deepcopy(tiny).double()(**inputs)
    assert logits.shape == (16, 2)
    assert distance(logits, exact) < 5e-6


@pytest.mark.parametrize("make", [bert.full_mask, bert.padded_mask, bert.no_mask])
def test_inputs_follow_the_seed_and_keep_their_form(make):
    one, same, other = make(SIZES, seeded(3)), make(SIZES, seeded(3)), make(SIZES, seeded(4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["input_ids"], other["input_ids"])
    for name, tensor in one.items():
        assert tensor.dtype == torch.int64
        assert (tensor.shape, tensor.stride()) == (other[name].shape, other[name].stride())


@pytest.mark.parametrize("seq", [17, 32, 64, 512])
def test_padding_is_30_to_50_percent_of_every_row(seq):
    inputs = bert.padded_mask({"batch": 64, "seq": seq}, seeded())
    mask, ids = inputs["attention_mask"], inputs["input_ids"]
    share = 1 - mask.double().mean(dim=1)
    assert share.min() >= 0.3
    assert share.max() <= 0.5
    assert len(share.unique()) > 1
    assert ((ids == bert.PAD) == (mask == 0)).all()
    assert (inputs["token_type_ids"] <= mask).all()


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_no_row_is_empty_however_short(seq):
    assert (
        bert.padded_mask({"batch": 8, "seq": seq}, seeded())["attention_mask"].sum(dim=1).min() >= 1
    )


def test_a_full_mask_hides_nothing_and_no_mask_is_none(tiny):
    full, none = bert.full_mask(SIZES, seeded()), bert.no_mask(SIZES, seeded())
    assert full["attention_mask"].all()
    assert set(none) == {"input_ids", "token_type_ids"}
    with torch.inference_mode():
        assert distance(tiny(**full), tiny(**none).double()) < 1e-6


def test_ignoring_the_padding_mask_shows(tiny):
    inputs = bert.padded_mask(SIZES, seeded())
    with torch.inference_mode():
        right = copy.deepcopy(tiny).double()(**inputs)
        ignored = tiny(**inputs | {"attention_mask": torch.ones_like(inputs["attention_mask"])})
    # Three times what is allowed even in bfloat16, whose eager error is well under 1 %.
    assert distance(ignored, right) > 0.05


def test_one_query_weight_off_by_a_thousandth_shows(tiny):
    inputs = bert.full_mask(SIZES, seeded())
    exact = copy.deepcopy(tiny).double()
    with torch.inference_mode():
        right = exact(**inputs)
        exact.model.bert.encoder.layer[-1].attention.self.query.weight[0, 0] += 1e-3
        assert distance(exact(**inputs), right) > 4 * distance(tiny(**inputs), right)


def test_every_weight_changes_when_it_is_rounded(tiny):
    for name, weight in tiny.named_parameters():
        assert not torch.equal(weight.bfloat16().float(), weight), name


@pytest.fixture(scope="module")
def deep():
    torch.manual_seed(0)
    return bert.base().eval(), bert.full_mask({"batch": 1, "seq": 32}, seeded())


def test_tokens_of_the_deepest_model_stay_apart(deep):
    """Where all are one vector, attention decides nothing, and no wrong query shows."""
    model, inputs = deep
    with torch.inference_mode():
        last = model.model(**inputs, output_hidden_states=True).hidden_states[-1][0]
    alike = torch.nn.functional.cosine_similarity(last[:, None], last[None], dim=-1)
    assert alike[~torch.eye(32, dtype=torch.bool)].mean() < 0.8


def test_rounded_biases_of_queries_show_in_the_deepest_model(deep):
    """Of all weights these reach the answer least: attention must be sharp."""
    model, inputs = deep
    exact = copy.deepcopy(model).double()
    with torch.inference_mode():
        right = exact(**inputs)
        own = distance(model(**inputs), right)
        for layer in exact.model.bert.encoder.layer[-3:]:
            bias = layer.attention.self.query.bias
            before = bias.clone()
            bias.copy_(before.bfloat16())
            assert distance(exact(**inputs), right) > 3 * own
            bias.copy_(before)


# -- checkpoints

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "i",
    "love",
    "hate",
    "this",
    "movie",
    "is",
    "great",
]


@pytest.fixture
def folder(tiny, tmp_path):
    from transformers import BertTokenizer

    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "saved")
    tiny.model.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_a_saved_checkpoint_gives_the_same_logits(tiny, folder, monkeypatch):
    monkeypatch.setenv("PARITYGATE_BERT", str(folder))
    inputs = bert.checkpoint_sentences({"batch": 8, "seq": 16}, seeded())
    with torch.inference_mode():
        assert torch.equal(bert.checkpoint().eval()(**inputs), tiny(**inputs))


def test_sentences_are_tokenised_padded_and_cut(folder, monkeypatch):
    monkeypatch.setenv("PARITYGATE_BERT", str(folder))
    inputs = bert.checkpoint_sentences({"batch": 32, "seq": 8}, seeded())
    assert set(inputs) == {"input_ids", "attention_mask", "token_type_ids"}
    assert all(tensor.shape == (32, 8) for tensor in inputs.values())
    love = [2, *(WORDS.index(word) for word in ("i", "love", "this", "movie")), 3, 0, 0]
    assert love in inputs["input_ids"].tolist()
    assert 0 < inputs["attention_mask"].double().mean() < 1


@pytest.mark.parametrize(
    "load", [bert.checkpoint, lambda: bert.checkpoint_sentences(SIZES, seeded())]
)
def test_an_unloadable_checkpoint_says_its_name_and_what_to_do(load, tmp_path, monkeypatch):
    missing = str(tmp_path / "no such folder")
    monkeypatch.setenv("PARITYGATE_BERT", missing)
    with pytest.raises(bert.CheckpointError) as error:
        load()
    for part in (missing, "PARITYGATE_BERT", "save_pretrained", "HF_HUB_OFFLINE"):
        assert part in str(error.value)
    monkeypatch.delenv("PARITYGATE_BERT")
    with pytest.raises(bert.CheckpointError, match="PARITYGATE_BERT is not set"):
        load()
