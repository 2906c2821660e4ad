"""A sentiment corpus made by a small grammar: short reviews, labelled 1 for praise and 0 for blame.

Single words do not decide: "was not good" is blame and "was never dull" is praise, and of two
clauses joined by "but" the last one counts. Every split holds as much praise as blame. No sentence
is in two splits, whatever its punctuation. Labels are int64 (N,).
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SEED_SENTENCES = (
    "I love this movie",
    "I hate this movie",
    "This movie is great",
    "This movie is terrible",
)
SEED_LABELS = torch.tensor([1, 0, 1, 0])

GOOD = (
    "good",
    "great",
    "wonderful",
    "brilliant",
    "clever",
    "charming",
    "funny",
    "moving",
    "honest",
    "superb",
    "touching",
    "graceful",
    "sharp",
    "tender",
    "witty",
    "gripping",
    "lovely",
    "fresh",
    "elegant",
    "thrilling",
)
BAD = (
    "bad",
    "terrible",
    "awful",
    "dull",
    "boring",
    "clumsy",
    "weak",
    "silly",
    "painful",
    "lazy",
    "hollow",
    "tedious",
    "shallow",
    "ugly",
    "noisy",
    "predictable",
    "pointless",
    "stale",
    "dreadful",
    "messy",
)
LOVE = ("love", "like", "enjoy", "admire", "adore", "recommend")
HATE = ("hate", "dislike", "loathe", "regret", "despise", "resent")
DEGREES = ("very", "really", "truly", "so", "quite", "deeply", "that")
PARTS = (
    "plot",
    "story",
    "acting",
    "script",
    "music",
    "ending",
    "dialogue",
    "camera",
    "opening",
    "cast",
    "humour",
    "pace",
    "editing",
    "sound",
    "light",
)
FILMS = (
    "movie",
    "film",
    "picture",
    "comedy",
    "drama",
    "thriller",
    "sequel",
    "western",
    "musical",
    "documentary",
)
KINDS = (
    "quiet",
    "long",
    "short",
    "french",
    "old",
    "new",
    "loud",
    "strange",
    "late",
    "early",
    "dark",
    "famous",
)
PEOPLE = ("I", "we", "they", "my friends", "the critics", "most people")
NAMES = (  # a film maker's name joins one of each; there are so many that some occur in one split only
    ("Mar", "Bel", "Kor", "Lin", "Tas", "Ven", "Dor", "Hal", "Nor", "Sel", "Ruf", "Gad"),
    ("lo", "ri", "ta", "be", "mu", "san", "den", "vi"),
    ("we", "ne", "th", "sky", "ger", "ro", "mont", "s"),
)


class Split(NamedTuple):
    """Sentences and their labels (N,): 1 praise, 0 blame."""

    sentences: tuple[str, ...]
    labels: Tensor


class Corpus(NamedTuple):
    """The sentences for training, for validation and for the final test."""

    train: Split
    validation: Split
    test: Split


@functools.cache
def load(seed: int = 0) -> Corpus:
    """Return 4,000 / 500 / 1,000 sentences. They are the same in every process and Python version.

    The four seed sentences are in none of the splits, but their words are in all. The result is
    shared: do not write to it.
    """
    grammar = _Grammar(seed)
    taken = {_bare(sentence) for sentence in SEED_SENTENCES}
    return Corpus(*(_split(grammar, size, taken) for size in (4000, 500, 1000)))


def _split(grammar: _Grammar, size: int, taken: set[str]) -> Split:
    """Return ``size`` sentences, praise and blame in turn, that are not in ``taken``. Adds them to
    ``taken``.
    """
    sentences: list[str] = []
    while len(sentences) < size:
        sentence = grammar.sentence(praise=len(sentences) % 2 == 0)
        if _bare(sentence) not in taken:
            taken.add(_bare(sentence))
            sentences.append(sentence)
    return Split(tuple(sentences), 1 - torch.arange(size) % 2)


def _bare(sentence: str) -> str:
    return sentence.lower().rstrip(" .!")


class _Grammar:
    """Draws sentences. It uses only ``random()``, the one method of the generator that Python
    guarantees not to change.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def sentence(self, praise: bool) -> str:
        """Return one clause, two that agree, or two of which the last one counts."""
        clauses = [self._clause(praise)]
        if self._chance(0.4):
            contrast = self._chance(0.6)
            clauses = [self._clause(praise != contrast), "but" if contrast else "and", *clauses]
        return " ".join(clauses) + self._one((" .", " !", ""))

    def _clause(self, praise: bool) -> str:
        negated = self._chance(0.25)
        positive = praise != negated
        if self._chance(0.3):
            person, film = self._one(PEOPLE), self._film()
            return (
                f"{person} {self._one(('do not ', 'never ')) if negated else self._perhaps('really', 0.3)}"
                + (f"{self._one(LOVE if positive else HATE)} {film}")
            )
        verb = self._one(("is", "was"))
        not_ = self._one(("not ", "never ", "hardly ")) if negated else ""
        return f"{self._subject()} {verb} {not_}{self._perhaps(self._one(DEGREES), 0.4)}" + (
            self._one(GOOD if positive else BAD)
        )

    def _subject(self) -> str:
        return self._film() if self._chance(0.4) else f"the {self._one(PARTS)} of {self._film()}"

    def _film(self) -> str:
        film = f"this {self._perhaps(self._one(KINDS), 0.5)}{self._one(FILMS)}"
        return f"{film} by {''.join(map(self._one, NAMES))}" if self._chance(0.25) else film

    def _perhaps(self, word: str, chance: float) -> str:
        return f"{word} " if self._chance(chance) else ""

    def _chance(self, chance: float) -> bool:
        return self._random() < chance

    def _one(self, words: Sequence[str]) -> str:
        return words[int(self._random() * len(words))]
