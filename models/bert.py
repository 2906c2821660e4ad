"""BERT for sequence classification: seeded random weights in three sizes, or a checkpoint.

Shapes: B batch, L sequence. Token ids, masks and types are int64 (B, L), logits (B, number of
labels). The mask holds 1 at a token and 0 at padding. transformers is imported only when a model is
made.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn

VOCABULARY = 30_522  # that of bert-base-uncased, like the ids below
PAD, CLS, SEP, FIRST_WORD = 0, 101, 102, 1_000
SPREAD = 0.57  # standard deviation of a random weight, times the root of the width: 0.05 at 128
BIAS = 0.1  # standard deviation of a bias, and of a norm's factor around 1
# Factor on query and key weights: without it attention is nearly uniform, and a check would not
# notice an ignored mask.
SHARPER = 3.0
# environment variable: a folder made by save_pretrained, or a hub name
CHECKPOINT = "PARITYGATE_BERT"

SENTENCES = (
    "I love this movie",
    "I hate this movie",
    "This movie is great",
    "This movie is terrible",
    "Hello, my dog is cute.",
    "The plot made no sense at all, but the actors saved what could be saved.",
    "Two hours of my life that nobody will ever give back to me.",
    "A quiet, patient film about a family that has forgotten how to talk to each other.",
)


class CheckpointError(RuntimeError):
    """A checkpoint cannot be loaded. The message names it and says what to do."""


class Classifier(nn.Module):
    """A transformers classifier that takes tensors and returns only the logits.

    So compilers and exporters see one tensor instead of a ``ModelOutput``.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Map (B, L) token ids, with or without their mask and types, to logits (B, labels)."""
        given = {"attention_mask": attention_mask, "token_type_ids": token_type_ids}
        # Missing inputs are not passed on: DistilBERT, for example, has no token types.
        return self.model(
            input_ids, **{name: x for name, x in given.items() if x is not None}
        ).logits


def tiny(vocabulary: int = VOCABULARY) -> Classifier:
    """Return a BERT of 2 layers x 128, 2 heads."""
    return _random_bert(layers=2, width=128, heads=2, vocabulary=vocabulary)


def mini(vocabulary: int = VOCABULARY) -> Classifier:
    """Return a BERT of 4 layers x 256, 4 heads."""
    return _random_bert(layers=4, width=256, heads=4, vocabulary=vocabulary)


def base() -> Classifier:
    """Return a BERT of 12 layers x 768, 12 heads: the size of bert-base."""
    return _random_bert(layers=12, width=768, heads=12)


def _random_bert(layers: int, width: int, heads: int, vocabulary: int = VOCABULARY) -> Classifier:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=vocabulary,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        num_labels=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout=0.0,
        # With 0.05 all tokens of a wide model are alike from the sixth layer on, and attention has
        # no effect.
        initializer_range=SPREAD / math.sqrt(width),
        # Without it the first call with labels writes it into the config, and compilers compile
        # again.
        problem_type="single_label_classification",
    )
    model = BertForSequenceClassification._from_config(config, attn_implementation="sdpa")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                # Biases start at 0, factors of norms at 1: rounding does not change these, and a
                # check would not notice a wrong one.
                parameter += BIAS * torch.randn_like(parameter)
            elif name.endswith(("query.weight", "key.weight")):
                parameter *= SHARPER
    return Classifier(model)


def full_mask(sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Return pairs of random sentences that fill (B, L), and a mask of ones.

    Eager transformers drops such a mask and compilers cannot, so their attention kernels may
    differ.
    """
    lengths = torch.full((sizes["batch"],), sizes["seq"])
    return _sentences(lengths, sizes["seq"], generator)


def padded_mask(sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Return pairs of random sentences of different lengths, each padded by 30 to 50 % of L and
    never empty.
    """
    shortest = max(1, math.ceil(0.5 * sizes["seq"]))
    longest = max(shortest, math.floor(0.7 * sizes["seq"]))
    lengths = torch.randint(shortest, longest + 1, (sizes["batch"],), generator=generator)
    return _sentences(lengths, sizes["seq"], generator)


def no_mask(sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Return pairs of random sentences that fill (B, L), without a mask."""
    inputs = full_mask(sizes, generator)
    del inputs["attention_mask"]
    return inputs


def _sentences(lengths: Tensor, seq: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return [CLS] words [SEP] padding; the second half of the words is the second sentence."""
    position, length = torch.arange(seq), lengths[:, None]
    ids = torch.randint(FIRST_WORD, VOCABULARY, (len(lengths), seq), generator=generator)
    ids[:, 0] = CLS
    ids = ids.masked_fill((position == length - 1) & (position > 0), SEP)
    real = position < length
    return {
        "input_ids": ids.masked_fill(~real, PAD),
        "attention_mask": real.long(),
        "token_type_ids": (real & (position >= (length + 1) // 2)).long(),
    }


def checkpoint() -> Classifier:
    """Return the classifier that ``PARITYGATE_BERT`` names: a folder made by ``save_pretrained``,
    or a hub name.

    A checkpoint without a classification head gets a random one. Raises ``CheckpointError``.
    """
    from transformers import AutoModelForSequenceClassification as Model

    name = _checkpoint_name()
    try:
        return Classifier(Model.from_pretrained(name, problem_type="single_label_classification"))
    except (OSError, ValueError) as reason:
        raise _unloadable(name, reason) from reason


def checkpoint_sentences(sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Return sentences drawn from ``SENTENCES``, tokenised for the checkpoint, padded and cut to
    (B, L).

    Raises ``CheckpointError``.
    """
    from transformers import AutoTokenizer

    name = _checkpoint_name()
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as reason:
        raise _unloadable(name, reason) from reason
    drawn = torch.randint(len(SENTENCES), (sizes["batch"],), generator=generator).tolist()
    return dict(
        tokenizer(
            [SENTENCES[i] for i in drawn],
            padding="max_length",
            truncation=True,
            max_length=sizes["seq"],
            return_tensors="pt",
        )
    )


def _checkpoint_name() -> str:
    name = os.environ.get(CHECKPOINT)
    if not name:
        raise CheckpointError(
            f"{CHECKPOINT} is not set: set it to a folder made by save_pretrained, or the name of a hub model"
        )
    return name


def _unloadable(name: str, reason: Exception) -> CheckpointError:
    return CheckpointError(
        f"{CHECKPOINT}={name!r} cannot be loaded. Set it to a folder made by save_pretrained (of the model and "
        "of its tokenizer, in the same folder), or to the name of a hub model; to download it, be online and "
        f"unset HF_HUB_OFFLINE. transformers said: {reason}"
    )
