"""BERT's tokenizer in plain Python, and the libraries that must agree with it, on a vocabulary
trained on the corpus.

Every tokenizer here takes a list of B sentences and a length L. It returns ``input_ids``,
``token_type_ids`` and ``attention_mask``, int64 (B, L): [CLS], the pieces of the words, [SEP], and
[PAD] up to L. Pieces that do not fit are cut before [SEP]. The mask holds 1 at a token and 0 at
padding. All types are 0.

``Plain`` follows https://github.com/google-research/bert/blob/master/tokenization.py with three
exceptions, in which all of Hugging Face's tokenizers agree:

- A special token written in the text, in exactly these letters, is that token.
- Characters for private use are dropped.
- A word of over 100 characters, not 200, is unknown.

Where Hugging Face's tokenizers differ from each other, it follows Google's:

- Greek: a capital sigma at the end of a word becomes "ς", in Rust "σ".
- Unicode: Rust's categories are those of Unicode 8. So marks and punctuation that were added or
  changed their category later are letters in Rust, or the other way round. Format characters that
  were added later are kept.
- Ideographs: Rust's range of extension E begins at U+2B920 instead of U+2B820, so its first 256
  characters are not separated.
- Unassigned characters are letters for Google and Rust; transformers' Python drops them.
- A special token interrupted by dropped characters, "[MA" U+200B "SK]": transformers' Python reads
  it as the token.

``hostile`` draws none of these; tests/unit/models/test_tokenizing.py holds each of them, and every other
character, to this list. transformers and tokenizers are imported only when they are used.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import re
import string
import tempfile
import unicodedata
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from models import corpus, weights

Answer = dict[str, Tensor]
Item = TypeVar("Item")

# their ids are 0 to 4
SPECIAL = PAD, UNK, CLS, SEP, MASK = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
)
LONGEST = 100  # characters; a longer word is unknown
OUTPUTS = ("input_ids", "token_type_ids", "attention_mask")
CHINESE = tuple(
    range(first, last + 1)
    for first, last in (
        (0x4E00, 0x9FFF),
        (0x3400, 0x4DBF),
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F),
        (0x2B820, 0x2CEAF),
        (0xF900, 0xFAFF),
        (0x2F800, 0x2FA1F),
    )
)


class Tokenizer:
    """One implementation: ``encode`` computes the answer. The tokens of the last calls are
    counted.
    """

    def __init__(
        self, name: str, vocabulary: Mapping[str, int], encode: Callable[[list[str], int], Answer]
    ) -> None:
        self.name, self.vocabulary, self._encode = name, vocabulary, encode
        self._masks: deque[Tensor] = deque(maxlen=32)

    def __call__(self, sentences: list[str], length: int) -> Answer:
        """Return the ids, types and mask (B, length). Raises ``ValueError`` if [CLS] and [SEP]
        alone do not fit.
        """
        if length < 2:
            raise ValueError(f"length={length} leaves no room for {CLS} and {SEP}: give 2 or more")
        answer = self._encode(sentences, length)
        self._masks.append(answer["attention_mask"])
        return answer

    def facts(self) -> dict[str, Any]:
        """Return the implementation, the size of the vocabulary, and the mean number of tokens of a
        call, without padding.
        """
        tokens = sum(int(mask.sum()) for mask in self._masks)
        return {
            "tokenizer": self.name,
            "vocabulary": len(self.vocabulary),
            "tokens_per_call": tokens / max(1, len(self._masks)),
        }


class Plain(Tokenizer):
    """BERT's uncased tokenizer in plain Python: the reference."""

    def __init__(self, tokens: Iterable[str]) -> None:
        super().__init__(
            "plain Python", {token: number for number, token in enumerate(tokens)}, self._rows
        )

    def _rows(self, sentences: list[str], length: int) -> Answer:
        rows = [[CLS, *self.tokenize(sentence)[: length - 2], SEP] for sentence in sentences]
        padded = [
            [self.vocabulary[token] for token in row] + [0] * (length - len(row)) for row in rows
        ]
        ids = torch.tensor(padded, dtype=torch.int64).view(len(rows), length)
        mask = torch.tensor([len(row) for row in rows], dtype=torch.int64)[:, None] > torch.arange(
            length
        )
        return dict(zip(OUTPUTS, (ids, torch.zeros_like(ids), mask.long()), strict=True))

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text, without [CLS] and [SEP]."""
        tokens: list[str] = []
        # text between special tokens and special tokens, in turn
        for number, part in enumerate(_SPECIAL.split(text)):
            tokens += (
                [part]
                if number % 2
                else [piece for word in words(part) for piece in self.pieces(word)]
            )
        return tokens

    def pieces(self, word: str) -> list[str]:
        """Return the pieces of a word: the longest one that begins it, then the longest one that
        continues it, marked by "##", and so on.
        """
        pieces: list[str] = []
        start = 0
        while start < len(word) <= LONGEST:
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self.vocabulary), None)
            if end is None:
                break
            pieces.append(prefix + word[start:end])
            start = end
        return pieces if start == len(word) else [UNK]


_SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIAL)) + ")")


def words(text: str) -> list[str]:
    """Return the words of a text: in small letters without accents. Each ideograph and punctuation
    mark is a word.
    """
    lowered = text.translate(_CLEANED).lower()
    return unicodedata.normalize("NFD", lowered).translate(_PARTED).split()


class _Each(dict[int, str]):
    """A table for ``str.translate``, filled when a character occurs first."""

    def __init__(self, rule: Callable[[str], str]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, code: int) -> str:
        self[code] = self._rule(chr(code))
        return self[code]


def _cleaned(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\t\n\r" or category == "Zs":
        return " "
    if character in "\0\ufffd" or category in ("Cc", "Cf", "Co"):
        return ""
    return f" {character} " if any(ord(character) in block for block in CHINESE) else character


def _parted(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Mn":
        return ""
    return (
        f" {character} "
        if character in string.punctuation or category.startswith("P")
        else character
    )


_CLEANED, _PARTED = _Each(_cleaned), _Each(_parted)

# --------------------------------------------------------------------------------------------------
# vocabulary

# First and last character of each script. Without foreign letters every hostile word would be [UNK],
# which hides mistakes.
SCRIPTS = (
    "!~",
    "ßÿ",
    "ıı",
    "łł",
    "αω",
    "ая",
    "את",
    "ءي",
    "कह",
    "กฮ",
    "あん",
    "アン",
    "ᄀᄒ",
    "ᅡᅵ",
    "ᆨᇂ",
    "ⅰⅻ",
    "ａｚ",
    "ﬀﬆ",
    "一丁",
    "中中",
    "你你",
    "好好",
    "影影",
    "電電",
    "、。",
    "‘”",
    "……",
    "😀😏",
    "👩👩",
)


def plain() -> Plain:
    """Return the tokenizer in plain Python, with the vocabulary of the corpus."""
    return Plain(vocabulary())


def alphabet() -> list[str]:
    """Return the characters that the vocabulary always contains: those of ``SCRIPTS`` that are
    words without a change.
    """
    characters = (chr(code) for ends in SCRIPTS for code in range(ord(ends[0]), ord(ends[1]) + 1))
    return [character for character in characters if words(character) == [character]]


def train(size: int = 2000, least: int = 2) -> tuple[str, ...]:
    """Return at most ``size`` tokens in the order of their ids, trained on the corpus's training
    sentences. Always the same tokens.

    ``least``: how often two pieces must be adjacent to become one.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    letters = alphabet()
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=least,
        show_progress=False,
        initial_alphabet=letters,
        # The trainer numbers pieces such as "##a" in the random order of a hash map, and of two
        # equally frequent merges it takes the one with lower numbers:
        # https://github.com/huggingface/tokenizers/issues/1794. Special tokens are numbered before,
        # so their numbers are fixed.
        special_tokens=[*SPECIAL, *("##" + letter for letter in letters)],
    )
    tokenizer.train_from_iterator(corpus.load().train.sentences, trainer)
    numbers: dict[str, int] = tokenizer.get_vocab()
    return tuple(sorted(numbers, key=numbers.__getitem__))


def vocabulary() -> tuple[str, ...]:
    """Return the tokens of ``train()``, from the cache if they are there.

    The cache is ``$PARITYGATE_CACHE/tokenizer``, or ``.paritygate/cache/tokenizer`` here. It holds
    ``<digest of all inputs>-<digest of the file>/vocab.txt``. A damaged file is made again.
    """
    cache = Path(os.environ.get("PARITYGATE_CACHE") or ".paritygate/cache") / "tokenizer"
    recipe = _recipe()
    for path in cache.glob(f"{recipe}-*/vocab.txt"):
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            if path.parent.name == f"{recipe}-{_digest(content)}":
                return tuple(content.decode().splitlines())
        warnings.warn(f"{path} is damaged and is made again", stacklevel=2)
    made = train()
    content = _lines(made)
    with contextlib.suppress(OSError):  # cannot be written: the next run is slower, not wrong
        weights.write_whole(content, cache / f"{recipe}-{_digest(content)}" / "vocab.txt")
    return made


def _recipe() -> str:
    sources = b"".join(Path(str(module)).read_bytes() for module in (__file__, corpus.__file__))
    return _digest(sources + importlib.metadata.version("tokenizers").encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def _lines(tokens: Iterable[str]) -> bytes:
    return "".join(f"{token}\n" for token in tokens).encode()


# --------------------------------------------------------------------------------------------------
# variants


def hf_fast(plain: Plain) -> Tokenizer:
    """Return the tokenizer that ``AutoTokenizer`` makes of a folder written by
    ``save_pretrained``.
    """
    from transformers import AutoTokenizer, BertTokenizer

    def saved(path: Path) -> Any:
        BertTokenizer(vocab=str(path)).save_pretrained(path.parent / "saved")
        return AutoTokenizer.from_pretrained(path.parent / "saved")

    return _of_transformers(plain, saved)


def hf_bert(plain: Plain) -> Tokenizer:
    """Return the ``BertTokenizer`` of transformers, from a vocab.txt. Since transformers 5 it is in
    Rust, too.
    """
    from transformers import BertTokenizer

    return _of_transformers(plain, lambda path: BertTokenizer(vocab=str(path)))


def hf_python(plain: Plain) -> Tokenizer:
    """Return the Python implementation of transformers, ``BertTokenizerLegacy``, from a
    vocab.txt.
    """
    from transformers import BertTokenizerLegacy

    return _of_transformers(plain, lambda path: BertTokenizerLegacy(str(path)))


def _of_transformers(plain: Plain, load: Callable[[Path], Any]) -> Tokenizer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_bytes(_lines(plain.vocabulary))
        tokenizer = load(path)

    def encode(sentences: list[str], length: int) -> Answer:
        encoded = tokenizer(
            sentences,
            padding="max_length",
            truncation=True,
            max_length=length,
            return_token_type_ids=True,  # the Python tokenizer returns them only on demand
            return_tensors="pt",
        )
        return {name: encoded[name] for name in OUTPUTS}

    return Tokenizer(f"transformers {type(tokenizer).__name__}", plain.vocabulary, encode)


def tokenizers_lib(plain: Plain) -> Tokenizer:
    """Return the tokenizer of the package tokenizers, without transformers around it."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, processors

    tokenizer = tokenizers.Tokenizer(
        models.WordPiece(dict(plain.vocabulary), unk_token=UNK, max_input_chars_per_word=LONGEST)
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        (SEP, plain.vocabulary[SEP]), (CLS, plain.vocabulary[CLS])
    )
    tokenizer.add_special_tokens(list(SPECIAL))

    def encode(sentences: list[str], length: int) -> Answer:
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(length=length)
        rows = tokenizer.encode_batch(sentences)
        columns = (
            [row.ids for row in rows],
            [row.type_ids for row in rows],
            [row.attention_mask for row in rows],
        )
        return {name: torch.tensor(column) for name, column in zip(OUTPUTS, columns, strict=True)}

    return Tokenizer("tokenizers", plain.vocabulary, encode)


# --------------------------------------------------------------------------------------------------
# inputs


def sentences(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[list[str], int]:
    """Return B texts of sentences from the corpus's test split, of 1 to 1.5 x L words: some are
    padded and some are cut.
    """
    known = corpus.load().test.sentences
    return [_joined(known, 3 * sizes["seq"] // 2, generator) for _ in range(sizes["batch"])], sizes[
        "seq"
    ]


def _joined(known: Sequence[str], most: int, generator: torch.Generator) -> str:
    """Return whole sentences, up to the first one that reaches the drawn number of words."""
    wanted = int(torch.randint(1, most + 1, (), generator=generator))
    text: list[str] = []
    while len(text) < wanted:
        text += _drawn(known, 1, generator)[0].split(" ")
    return " ".join(text)


def hostile(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[list[str], int]:
    """Return B texts of up to L / 3 scraps each: those of ``HOSTILE``, and runs of characters drawn
    at random.
    """
    scraps = tuple(HOSTILE.values())
    texts = []
    for _ in range(sizes["batch"]):
        count = int(torch.randint(max(2, sizes["seq"] // 3), (), generator=generator))
        runs = ["".join(_drawn(characters(), 8, generator)) for _ in range(count // 4)]
        chosen = _drawn((*scraps, *runs), count, generator)
        texts.append(
            "".join(
                scrap + gap
                for scrap, gap in zip(chosen, _drawn(GAPS, count, generator), strict=True)
            )
        )
    return texts, sizes["seq"]


def _drawn(items: Sequence[Item], count: int, generator: torch.Generator) -> list[Item]:
    return [
        items[number]
        for number in torch.randint(len(items), (count,), generator=generator).tolist()
    ]


def undisputed(character: str) -> bool:
    """Return whether every implementation puts the character into the same category.

    This holds for characters that had today's category in Unicode 3.2, which Python includes. The
    capital sigma is an exception.
    """
    category = unicodedata.category(character)
    return (
        category not in ("Cn", "Cs")
        and category == unicodedata.ucd_3_2_0.category(character)
        and character != "Σ"
    )


@functools.cache
def characters() -> tuple[str, ...]:
    """Return undisputed characters of all scripts and symbols of the first plane, with few
    ideographs and no syllables of Hangul.
    """
    blocks = (range(0x3500), range(0x4E00, 0x4E80), range(0xD780, 0xD7B0), range(0xF8E0, 0x10000))
    return tuple(chr(code) for block in blocks for code in block if undisputed(chr(code)))


GAPS = (" ", " ", " ", "", "\n", "\t", "\u3000", "\u200b", ", ", "-")
HOSTILE = {
    "empty": "",
    "only spaces": "   ",
    "only whitespace of many kinds": " \t\r\n\u00a0\u2003\u3000\u2028\u2029",
    "only control characters": "\x00\x01\x07\x1b\x7f\x85",
    "control characters within words": "th\x00is mo\x1bvie w\x08as gre\x7fat",
    "line and page separators": "this\u2028movie\u2029was\x0bgreat\x0c.",
    "zero width within words": "mo\u200bvie fi\u200clm dra\u200dma wes\u2060tern \ufeffplot",
    "soft hyphen": "won\u00adder\u00adful",
    "directions": "\u202ethis movie\u202c \u2066was\u2069 \u200fgreat\u200e",
    "replacement character": "gr\ufffdeat",
    "private use": "gr\ue000eat \uf8ff \U000f0000 \U0010fffd",
    "noncharacters' neighbours": "\ufdf0 \ufffc a\ufffcb",
    "composed": "Amélie était naïve à Übersee",
    "decomposed": unicodedata.normalize("NFD", "Amélie était naïve à Übersee"),
    "many marks on one letter": "g\u0301\u0302\u0303\u0304\u0323\u0330re\u0489at",
    "a mark alone": "\u0301 \u20dd a \u0308",
    "marks that spaces part": "e \u0301e",
    "Turkish": "İstanbul ISPARTA ılık İİ I\u0307",
    "sharp s": "STRASSE Straße STRAẞE",
    "ligatures": "ﬁne ﬂat oﬀer eﬃcient ﬆale",
    "numerals": "Ⅳ ⅳ ½ ² ٣ 三 ④ 1,000.50",
    "full width": "ＴＨＩＳ　ｍｏｖｉｅ！？ １２３",
    "mathematical letters": "𝐭𝐡𝐢𝐬 𝒎𝒐𝒗𝒊𝒆 𝔴𝔞𝔰",
    "letters of compatibility": "K Å Ω ℌ ™ ª º µ",
    "Greek": "Αυτή η ταινία ήταν υπέροχη ς σ",
    "Cyrillic": "Этот фильм был хороший Ё ё Й й",
    "Hebrew with points": "הַסֶּרֶט הָיָה נִפְלָא",
    "Arabic with marks": "كَانَ الفِيلْمُ رَائِعًا ؟",
    "Devanagari": "यह फ़िल्म अच्छी थी।",
    "Thai": "ภาพยนตร์เรื่องนี้ดีมาก",
    "Chinese without spaces": "這部電影很好看。你好，世界！",
    "Chinese among letters": "a中b文c你d",
    "rare ideographs": "𠀀𪛖𪜀𫝀\U0002b81d豈\U0002f800㐀",
    "Japanese": "この映画はすばらしいです。ガギグ カ\u3099",
    "Korean": "이 영화는 정말 좋았다 " + unicodedata.normalize("NFD", "영화"),
    "emoji": "😀 great😀movie 👍🏽",
    "emoji joined": "👩\u200d👩\u200d👧\u200d👦 ❤\ufe0f 🇬🇧 1\ufe0f\u20e3 🏴\U000e0067\U000e0062\U000e007f",
    "punctuation": "wow!!!...this--movie (really?) [was] {so} <good> $5 ^_^ a|b `c` ~d +e =f",
    "punctuation of the world": "«great» „bad“ ‘so’ … — ‐ ¿que? ¡no! 「映画」、。 ‽ ⁇",
    "symbols that are no punctuation": "€5 ©2024 ±1 × ÷ ° ¬ √ ∑ ← ■",
    "a word of 100 letters": "a" * 100,
    "a word of 101 letters": "a" * 101,
    "a word of 100 letters and their accents": "a\u0301" * 100,
    "a word of 100 and one ideograph": "a" * 100 + "中",
    "a very long word": "wonderful" * 300,
    "unknown words": "qwxzjk \u16a0\u16a1 \u1200\u1201",
    "pieces as they are written": "##ing ## # un ##able",
    "special tokens": "[CLS] this [MASK] was [PAD] great [UNK] [SEP]",
    "special tokens without spaces": "a[MASK]b[SEP][SEP]c[CLS]",
    "special tokens in brackets": "[[MASK]] [[[SEP] [MASK",
    "special tokens in small letters": "[mask] [Sep] [cls ]",
    "special tokens among ideographs": "中[MASK]文[SEP]。",
    "case": "tHiS MoViE WaS GREAT",
    "bytes of other encodings": "Ã© â€œgreatâ€\x9d",
}
