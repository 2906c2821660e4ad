"""Text to probabilities: the corpus's tokenizer, a BERT over its vocabulary, and softmax.

Shapes: B batch, L sequence. Token ids, masks and types are int64 (B, L), probabilities (B, 2).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models import bert, tokenizing


class Probabilities(nn.Module):
    """A classifier with probabilities as its answer."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Map (B, L) token ids with their mask and types to probabilities (B, 2). Every row sums to
        1.
        """
        logits: Tensor = self.classifier(input_ids, attention_mask, token_type_ids)
        return logits.softmax(dim=1)


def tiny() -> bert.Classifier:
    """Return BERT tiny over the corpus's vocabulary, with random weights."""
    return bert.tiny(vocabulary=len(tokenizing.plain().vocabulary))


def mini() -> bert.Classifier:
    """Return BERT mini over the corpus's vocabulary, with random weights."""
    return bert.mini(vocabulary=len(tokenizing.plain().vocabulary))


def probabilities() -> Probabilities:
    """Return BERT mini over the corpus's vocabulary, with random weights and softmax."""
    return Probabilities(mini())


@functools.cache
def _tokenizer() -> tokenizing.Tokenizer:
    return tokenizing.hf_fast(tokenizing.plain())


def encode(sentences: Sequence[str], length: int) -> dict[str, Tensor]:
    """Return the model's inputs for some sentences, padded and cut to L = ``length``."""
    with torch.inference_mode(False):  # for inference tensors compilers would compile again
        return dict(_tokenizer()(list(sentences), length))
