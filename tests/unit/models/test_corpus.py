"""The corpus of reviews: that its labels are right, its splits apart, and that words alone do not
give it away.
"""

import hashlib
import random
import re

import pytest
import torch

from models import corpus


@pytest.fixture(scope="module", name="reviews")
def _reviews():
    return corpus.load()


def bare(sentence: str) -> str:
    return " ".join(re.findall(r"[a-z]+", sentence.lower()))


def test_splits_have_their_sizes_and_as_much_praise_as_blame(reviews):
    assert [len(split.sentences) for split in reviews] == [4000, 500, 1000]
    for split in reviews:
        assert split.labels.dtype == torch.int64
        assert split.labels.bincount().tolist() == [len(split.sentences) // 2] * 2


def test_no_sentence_comes_twice_and_no_seed_sentence_once(reviews):
    told = [bare(sentence) for split in reviews for sentence in split.sentences]
    told += [bare(sentence) for sentence in corpus.SEED_SENTENCES]
    assert len(set(told)) == len(told) == 5504


def test_the_seed_sentences_have_labels_words_and_relatives_in_the_corpus(reviews):
    labels = dict(zip(corpus.SEED_SENTENCES, corpus.SEED_LABELS.tolist(), strict=True))
    assert labels == {
        "I love this movie": 1,
        "I hate this movie": 0,
        "This movie is great": 1,
        "This movie is terrible": 0,
    }
    known = {word for sentence in reviews.train.sentences for word in bare(sentence).split()}
    assert {word for sentence in labels for word in bare(sentence).split()} <= known
    for pattern in (
        "i love this [a-z ]+",
        "i hate this [a-z ]+",
        "this [a-z ]+ is great",
        "this [a-z ]+ is terrible",
    ):
        assert any(re.fullmatch(pattern, bare(sentence)) for sentence in reviews.train.sentences), (
            pattern
        )


def judged(sentence: str) -> int:
    """The label as a reader finds it: what the last clause says, turned round by every negation
    there.
    """
    words = bare(re.split(" but | and ", sentence)[-1]).split()
    (said,) = [word in (*corpus.GOOD, *corpus.LOVE) for word in words if word in JUDGEMENTS]
    return int(said) ^ sum(word in ("not", "never", "hardly") for word in words)


JUDGEMENTS = {*corpus.GOOD, *corpus.BAD, *corpus.LOVE, *corpus.HATE}


def test_a_reader_agrees_with_every_label(reviews):
    for split in reviews:
        assert [judged(sentence) for sentence in split.sentences] == split.labels.tolist()


@pytest.mark.parametrize(
    ("sentence", "label"),
    [
        ("the plot of this quiet film was wonderful .", 1),
        ("this film was not good", 0),
        ("this drama was never really dull !", 1),
        ("this drama was good but the plot of this film was awful", 0),
        ("I do not love this film but they never hate this movie", 1),
    ],
)
def test_the_reader_reads_as_people_do(sentence, label):
    assert judged(sentence) == label


def test_clauses_with_but_contradict_and_those_with_and_agree(reviews):
    kinds = {"but": set(), "and": set()}
    for sentence in reviews.train.sentences:
        for word, found in kinds.items():
            clauses = sentence.split(f" {word} ")
            if len(clauses) == 2:
                found.add(judged(clauses[0]) == judged(clauses[1]))
    assert kinds == {"but": {False}, "and": {True}}


def test_words_without_their_order_do_not_solve_it(reviews):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    count = CountVectorizer(token_pattern=r"\S+")
    model = LogisticRegression(max_iter=300)
    model.fit(count.fit_transform(reviews.train.sentences), reviews.train.labels.numpy())
    accuracy = model.score(count.transform(reviews.test.sentences), reviews.test.labels.numpy())
    assert 0.5 < accuracy < 0.8


def test_it_is_the_same_in_every_process_and_on_every_python(reviews):
    text = "\n".join(sentence for split in reviews for sentence in split.sentences)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "09f53af884f73fc6"


def test_another_seed_tells_other_things_and_no_random_state_is_touched():
    corpus.load.cache_clear()
    before = random.getstate(), torch.random.get_rng_state()
    one, same, other = corpus.load(0), corpus.load.__wrapped__(0), corpus.load(1)
    assert random.getstate() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])
    assert one.train.sentences == same.train.sentences
    assert len(set(one.train.sentences) & set(other.train.sentences)) < 1000
