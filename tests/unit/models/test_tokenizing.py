"""Tokenizers: the plain one is right, the libraries agree with it, and where they do not is known
to the character.
"""

import unicodedata
import warnings

import pytest
import torch

from models import corpus, tokenizing
from paritygate.parity import rule
from paritygate.parity.tolerance import tolerances
from tests.support.damage import DAMAGES

VARIANTS = ("hf_fast", "hf_bert", "hf_python", "tokenizers_lib")


@pytest.fixture(scope="module", name="plain")
def _plain():
    return tokenizing.Plain(tokenizing.train())


@pytest.fixture(scope="module", name="variants")
def _ways(plain):
    return {name: getattr(tokenizing, name)(plain) for name in VARIANTS}


@pytest.fixture(params=VARIANTS)
def variant(request, variants):
    return variants[request.param]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def compared(answer: tokenizing.Answer, right: tokenizing.Answer) -> rule.Parity:
    """What the harness makes of an answer."""
    ours, theirs = ([[tensor.numpy() for tensor in found.values()]] for found in (answer, right))
    return rule.compare(ours, theirs, None, tolerances()["fp32"])


def assert_equal(answer: tokenizing.Answer, right: tokenizing.Answer) -> None:
    assert list(answer) == list(right) == ["input_ids", "token_type_ids", "attention_mask"]
    found = compared(answer, right)
    assert found.agrees, found.explain()


def tokens(plain, answer) -> list[str]:
    """The tokens of the only row, without [CLS], [SEP] and padding."""
    names = list(plain.vocabulary)
    ids, mask = answer["input_ids"][0], answer["attention_mask"][0].bool()
    return [names[number] for number in ids[mask][1:-1].tolist()]


# -- the plain one is right


@pytest.fixture(scope="module", name="small")
def _small():
    return tokenizing.Plain(
        [*tokenizing.SPECIAL, "un", "##aff", "##able", "##a", "a", "film", "!", "[", "]", "mask"]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unaffable", ["un", "##aff", "##able"]),  # the example of BERT's own source
        ("unaffa", ["un", "##aff", "##a"]),
        ("unaffx", ["[UNK]"]),  # known pieces do not help where the rest is unknown
        ("xun", ["[UNK]"]),
        ("Film!film", ["film", "!", "film"]),
        ("a" * 100, ["a"] + ["##a"] * 99),
        ("a" * 101, ["[UNK]"]),
        ("[MASK]", ["[MASK]"]),
        ("a[MASK]a", ["a", "[MASK]", "a"]),
        ("[mask]", ["[", "mask", "]"]),
        ("", []),
    ],
)
def test_the_longest_piece_comes_first_and_what_has_none_is_unknown(small, text, expected):
    assert small.tokenize(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "  HeLLo!how  \n Are yoU?  ",
            ["hello", "!", "how", "are", "you", "?"],
        ),  # BERT's own tests, as the next two
        ("H\u00e9llo", ["hello"]),
        ("ah\u535a\u63a8zz", ["ah", "\u535a", "\u63a8", "zz"]),
        ("İstanbul ISPARTA", ["istanbul", "isparta"]),
        ("mo\u200bvie\x00 gr\ufffdeat \ue000", ["movie", "great"]),
        ("a\tb\u3000c\u2028d", ["a", "b", "c", "d"]),
        ("ＴＨＩＳ Ⅳ ﬁne", ["ｔｈｉｓ", "ⅳ", "ﬁne"]),
        ("a$b^c`d€e", ["a", "$", "b", "^", "c", "`", "d€e"]),
        ("ΟΔΟΣ", ["οδος"]),
        ("영", ["\u110b\u1167\u11bc"]),
        ("\u0301 \u20dd", ["\u20dd"]),
    ],
)
def test_words_are_cleaned_lowered_and_parted(text, expected):
    assert tokenizing.words(text) == expected


def test_a_row_is_cls_tokens_sep_and_padding(small):
    answer = small(["film unaffable", "", "a a a a a a"], 6)
    assert answer["input_ids"].tolist() == [
        [2, 10, 5, 6, 7, 3],
        [2, 3, 0, 0, 0, 0],
        [2, 9, 9, 9, 9, 3],
    ]
    assert answer["attention_mask"].tolist() == [[1] * 6, [1, 1, 0, 0, 0, 0], [1] * 6]
    assert answer["token_type_ids"].tolist() == [[0] * 6] * 3
    assert {tensor.dtype for tensor in answer.values()} == {torch.int64}


def test_written_padding_is_a_token_and_not_masked(small):
    answer = small(["a [PAD] a"], 7)
    assert answer["input_ids"].tolist() == [[2, 9, 0, 9, 3, 0, 0]]
    assert answer["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0, 0]]


def test_no_sentences_give_no_rows(small):
    assert {tuple(tensor.shape) for tensor in small([], 8).values()} == {(0, 8)}


@pytest.mark.parametrize("length", [1, 0, -1])
def test_a_length_without_room_is_refused_by_all(plain, variants, length):
    for tokenizer in (plain, *variants.values()):
        with pytest.raises(
            ValueError, match=rf"length={length} leaves no room for \[CLS\] and \[SEP\]: give 2 or"
        ):
            tokenizer(["this movie"], length)


# -- the libraries agree


@pytest.mark.parametrize("length", [2, 3, 12, 64, 512])
@pytest.mark.parametrize("batch", [1, 64])
def test_reviews_of_every_length(plain, variant, batch, length):
    texts, _ = tokenizing.sentences({"batch": batch, "seq": length}, seeded())
    answer = plain(texts, length)
    assert answer["input_ids"].shape == (batch, length)
    assert_equal(variant(texts, length), answer)


def test_the_whole_corpus(plain, variant):
    texts = [
        *corpus.load().train.sentences[::4],
        *corpus.load().test.sentences,
        *corpus.SEED_SENTENCES,
    ]
    answer = plain(texts, 32)
    assert tokenizing.SPECIAL.index("[UNK]") not in answer["input_ids"]
    assert answer["attention_mask"][:, -1].sum() == 0
    assert_equal(variant(texts, 32), answer)


@pytest.mark.parametrize("text", tokenizing.HOSTILE.values(), ids=tokenizing.HOSTILE)
def test_hostile_text(plain, variant, text):
    assert_equal(variant([text], 512), plain([text], 512))
    assert_equal(
        variant([text, "this movie was great", text], 9),
        plain([text, "this movie was great", text], 9),
    )


def test_texts_of_random_scraps(plain, variant):
    """Some thousand short texts of undisputed characters, of letters, and of special tokens."""
    generator = seeded(7)
    letters = tuple("aeinost AEINOST  ,.!-[]#'") + tokenizing.SPECIAL
    texts = []
    for count in torch.randint(14, (3000,), generator=generator).tolist():
        pools = (letters, letters, tokenizing.characters())
        which = torch.randint(len(pools), (count,), generator=generator).tolist()
        texts.append("".join(tokenizing._drawn(pools[pool], 1, generator)[0] for pool in which))
    assert_equal(variant(texts, 16), plain(texts, 16))


def test_every_undisputed_character_within_a_word(plain, variant):
    within = [f"a{character}b " for character in tokenizing.characters()]
    texts = ["".join(within[start : start + 64]) for start in range(0, len(within), 64)]
    assert_equal(variant(texts, 512), plain(texts, 512))


@pytest.mark.parametrize("name", ["input_ids", "attention_mask", "token_type_ids"])
def test_one_number_off_by_one_is_noticed(plain, name):
    texts, length = tokenizing.sentences({"batch": 64, "seq": 64}, seeded())
    right, wrong = plain(texts, length), plain(texts, length)
    wrong[name][63, 1] += 1
    found = compared(wrong, right)
    assert not found.agrees
    assert "1 of 4096 integers differ" in found.problem


# -- where they do not

DISAGREEMENTS = {  # text: what the plain one, those in Rust and transformers' Python make of it
    "a capital sigma ends a word": ("αΣ", ["α", "##ς"], ["α", "##σ"], ["α", "##ς"]),
    "a mark of Unicode 14": ("mo\u0898vie", ["movie"], ["[UNK]"], ["movie"]),
    "punctuation of Unicode 14": (
        "is\u2e52it",
        ["is", "[UNK]", "it"],
        ["[UNK]"],
        ["is", "[UNK]", "it"],
    ),
    "no punctuation any more": ("is\u166dit", ["[UNK]"], ["is", "[UNK]", "it"], ["[UNK]"]),
    "no mark without width any more": ("mo\u1734vie", ["[UNK]"], ["movie"], ["[UNK]"]),
    "a format character of Unicode 9": ("mo\u08e2vie", ["movie"], ["[UNK]"], ["movie"]),
    "an ideograph of extension E": (
        "is\U0002b820it",
        ["is", "[UNK]", "it"],
        ["[UNK]"],
        ["is", "[UNK]", "it"],
    ),
    "an unassigned character": ("mo\ufdd0vie", ["[UNK]"], ["[UNK]"], ["movie"]),
    "a special token with a gap": (
        "[MA\u200bSK]",
        ["[", "mask", "]"],
        ["[", "mask", "]"],
        ["[MASK]"],
    ),
}


@pytest.fixture(scope="module", name="few")
def _few():
    return tokenizing.Plain(
        [*tokenizing.SPECIAL, "movie", "is", "it", "α", "##ς", "##σ", "[", "mask", "]"]
    )


@pytest.mark.parametrize("case", DISAGREEMENTS.values(), ids=DISAGREEMENTS)
def test_known_disagreements_are_as_the_module_says(few, case):
    text, right, rust, python = case
    assert few.tokenize(text) == right
    for name in VARIANTS:
        answer = getattr(tokenizing, name)(few)([text], 16)
        assert tokens(few, answer) == (python if name == "hf_python" else rust), name


def test_no_other_character_is_disputed():
    """Every assigned character within a word, against the parts in Rust, which tell words apart
    even if unknown.
    """
    from tokenizers import normalizers, pre_tokenizers

    normalizer, pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()

    def in_rust(text: str) -> list[str]:
        return [word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))]

    assigned = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cn", "Cs")]
    disputed = []
    for start in range(0, len(assigned), 256):
        several = assigned[start : start + 256]
        text = " ".join(f"a{character}b" for character in several)
        if tokenizing.words(text) != in_rust(text):
            disputed += [c for c in several if tokenizing.words(f"a{c}b") != in_rust(f"a{c}b")]
    assert not any(map(tokenizing.undisputed, disputed))
    ideographs = [
        c
        for c in disputed
        if unicodedata.category(c) == "Lo" and unicodedata.name(c).startswith("CJK")
    ]
    assert ideographs == [chr(code) for code in range(0x2B820, 0x2B920)]
    then = unicodedata.ucd_3_2_0.category
    assert all(unicodedata.category(c) != then(c) for c in disputed)


def test_hostile_inputs_hold_nothing_disputed_between_implementations():
    text = "".join(tokenizing.HOSTILE.values())
    assert "Σ" not in text
    assert not {unicodedata.category(character) for character in text} & {"Cn", "Cs"}
    assert all(map(tokenizing.undisputed, tokenizing.characters()))
    assert len(tokenizing.characters()) > 5000


# -- inputs, facts


@pytest.mark.parametrize("make", [tokenizing.sentences, tokenizing.hostile])
def test_inputs_follow_the_generator_alone(make):
    sizes = {"batch": 16, "seq": 64}
    before = torch.random.get_rng_state()
    (one, length), (same, _), (other, _) = (
        make(sizes, seeded(3)),
        make(sizes, seeded(3)),
        make(sizes, seeded(4)),
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one == same != other
    assert (len(one), length) == (16, 64)


@pytest.mark.parametrize("make", [tokenizing.sentences, tokenizing.hostile])
@pytest.mark.parametrize("length", [64, 512])
def test_some_texts_are_padded_and_some_are_cut(plain, make, length):
    texts, _ = make({"batch": 64, "seq": length}, seeded())
    counts = [len(plain.tokenize(text)) + 2 for text in texts]
    assert sum(count < length for count in counts) >= 8
    assert sum(count > length for count in counts) >= 8


def test_facts_count_tokens_and_not_padding(small):
    tokenizer = tokenizing.Plain(small.vocabulary)
    assert tokenizer.facts()["tokens_per_call"] == 0
    tokenizer(["film", "a film"], 8)
    tokenizer(["film", "film"], 8)
    assert tokenizer.facts() == {
        "tokenizer": "plain Python",
        "vocabulary": 15,
        "tokens_per_call": 6.5,
    }


def test_ways_are_what_they_are_called(plain, variants):
    assert {name: found.name for name, found in variants.items()} == {
        "hf_fast": "transformers BertTokenizer",
        "hf_bert": "transformers BertTokenizer",
        "hf_python": "transformers BertTokenizerLegacy",
        "tokenizers_lib": "tokenizers",
    }
    assert {found.facts()["vocabulary"] for found in variants.values()} == {len(plain.vocabulary)}


# -- vocabulary, cache


def test_the_vocabulary_is_the_same_whenever_it_is_learnt(plain):
    assert {tokenizing.train() for _ in range(4)} == {tuple(plain.vocabulary)}


def test_the_vocabulary_knows_the_corpus_and_foreign_letters(plain):
    names = tuple(plain.vocabulary)
    assert names[:5] == tokenizing.SPECIAL
    assert 1000 < len(names) <= 2000
    assert plain.tokenize("I love this movie") == ["i", "love", "this", "movie"]
    for letter in tokenizing.alphabet():
        assert {letter, "##" + letter} <= plain.vocabulary.keys()
    split = [
        word
        for text in corpus.load().test.sentences
        for word in tokenizing.words(text)
        if word not in names
    ]
    assert split  # names that were not learnt come in pieces
    assert all("[UNK]" not in plain.pieces(word) for word in split)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PARITYGATE_CACHE", str(tmp_path))
    return tmp_path / "tokenizer"


@pytest.fixture
def trainings(monkeypatch):
    calls = []
    real = tokenizing.train
    monkeypatch.setattr(tokenizing, "train", lambda: calls.append(1) or real())
    return calls


def test_the_second_call_reads_what_the_first_one_wrote(cache, trainings, plain):
    assert tokenizing.vocabulary() == tokenizing.vocabulary() == tuple(plain.vocabulary)
    assert len(trainings) == 1
    assert [path.name for path in cache.glob("*/*")] == ["vocab.txt"]
    assert tokenizing.plain().vocabulary == plain.vocabulary


def test_another_corpus_is_another_file(cache, trainings, monkeypatch, tmp_path):
    tokenizing.vocabulary()
    (tmp_path / "other.py").write_text("")
    monkeypatch.setattr(corpus, "__file__", str(tmp_path / "other.py"))
    tokenizing.vocabulary()
    assert len(trainings) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_anew(cache, trainings, damage):
    first = tokenizing.vocabulary()
    (path,) = cache.glob("*/vocab.txt")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="damaged"):
        assert tokenizing.vocabulary() == first
    with warnings.catch_warnings(action="error"):
        assert tokenizing.vocabulary() == first
    assert len(trainings) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, trainings, monkeypatch, plain):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PARITYGATE_CACHE", str(tmp_path / "file"))
    assert tokenizing.vocabulary() == tuple(plain.vocabulary)


def test_without_the_variable_the_cache_is_below_the_working_folder(
    tmp_path, trainings, monkeypatch
):
    monkeypatch.delenv("PARITYGATE_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    tokenizing.vocabulary()
    assert len(list((tmp_path / ".paritygate" / "cache" / "tokenizer").iterdir())) == 1
