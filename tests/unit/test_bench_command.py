"""The comment ``/bench ...``: what is accepted reaches pytest as it is, and nothing else does."""

from __future__ import annotations

import random
import shlex

import bench_command
import pytest
from _pytest.config import get_config
from _pytest.mark.expression import Expression

from paritygate.core.budgets import BUDGETS
from paritygate.gate.request import PROFILES
from paritygate.plugin import options

# what the parser of pytest calls the options that a comment may set
DESTINATIONS = {
    "keyword",
    "bench_profile",
    "bench_budget",
    "bench_targets",
    "bench_limit",
    "bench_all",
}

GOOD = {
    "/bench": [],
    "/bench   ": [],
    "/bench\r\n": [],
    "/bench\n\n  \n": [],
    "/bench -k bert": ["-k", "bert"],
    "/bench -k=bert": ["-k", "bert"],
    '/bench -k "bert and not compile"': ["-k", "bert and not compile"],
    "/bench -k 'bert and not compile'\r\n": ["-k", "bert and not compile"],
    '/bench -k="(cnn or bert) and b32"': ["-k", "(cnn or bert) and b32"],
    '/bench -k "not(cnn)or(not bert)"': ["-k", "not(cnn)or(not bert)"],
    "/bench -k mlp-b256-cpu-eager-fp32": ["-k", "mlp-b256-cpu-eager-fp32"],
    "/bench -k [mlp-b256-cpu-eager-fp32]": ["-k", "[mlp-b256-cpu-eager-fp32]"],
    "/bench -k and_or_not": ["-k", "and_or_not"],
    "/bench   --bench-profile   strict": ["--bench-profile", "strict"],
    "/bench --bench-profile=strict": ["--bench-profile", "strict"],
    "/bench --bench-budget normal --bench-all": ["--bench-budget", "normal", "--bench-all"],
    "/bench --bench-targets cpu-*-fp32,compile": ["--bench-targets", "cpu-*-fp32,compile"],
    "/bench --bench-limit 60": ["--bench-limit", "60"],
    '/bench --bench-profile noisy -k "a or b" --bench-limit=3600': [
        "--bench-profile",
        "noisy",
        "-k",
        "a or b",
        "--bench-limit",
        "3600",
    ],
}

# a comment -> a part of the answer
BAD = {
    # the shell
    "/bench ; rm -rf /": "`;` is not allowed here",
    "/bench && curl evil": "`&&` is not allowed here",
    "/bench | sh": "`|` is not allowed here",
    "/bench > file": "`>` is not allowed here",
    "/bench $(touch here)": "`$(touch` is not allowed here",
    "/bench `touch here`": "`?touch` is not allowed here",
    "/bench -k $(touch here)": "-k `$(touch` is not allowed",
    "/bench -k '$(touch here)'": "-k `$(touch here)` is not allowed",
    "/bench -k '`touch here`'": "-k `?touch here?` is not allowed",
    '/bench -k "a; touch here"': "is not allowed",
    "/bench -k $IFS": "is not allowed",
    "/bench -k a&&b": "is not allowed",
    "/bench -k a\\;b": "is not allowed",
    "/bench FOO=bar": "`FOO` is not allowed here",
    "/bench # -k bert": "`#` is not allowed here",
    # other outputs, other lines
    "/bench -k a\nhead=evil": "is one line",
    "/bench\n-k bert": "is one line",
    "/bench -k 'a\nb'": "is one line",
    "/bench -k 'a\r\nhead<<EOF'": "is one line",
    "/bench -k a\rhead=evil": "U+000D",
    "/bench -k a\u2028head=evil": "U+2028 (LINE SEPARATOR)",
    "/bench -k a\x85b": "U+0085",
    "/bench -k a\x0bb": "U+000B",
    "/bench -k a\x0cb": "U+000C",
    "/bench -k a\0b": "U+0000 (a control character)",
    "/bench -k a\tb": "U+0009",
    "/bench -k a\x1b[31m": "U+001B",
    # options of pytest that do harm
    "/bench --rootdir /": "`--rootdir` is not allowed here",
    "/bench --rootdir=/": "`--rootdir` is not allowed here",
    "/bench -p evil": "`-p` is not allowed here",
    "/bench -pevil": "`-pevil` is not allowed here",
    "/bench -c evil.ini": "`-c` is not allowed here",
    "/bench -o addopts=-pevil": "`-o` is not allowed here",
    "/bench --override-ini=x=y": "`--override-ini` is not allowed here",
    "/bench --bench-store=postgresql://evil": "`--bench-store` is not allowed here",
    "/bench --bench-report /etc/passwd": "`--bench-report` is not allowed here",
    "/bench --bench-against HEAD": "`--bench-against` is not allowed here",
    "/bench --bench-against-python=/bin/sh": "`--bench-against-python` is not allowed here",
    "/bench --junitxml=x": "is not allowed",
    "/bench --pyargs evil": "is not allowed",
    "/bench --debug": "is not allowed",
    "/bench -- evil.py": "`--` is not allowed here",
    "/bench ../../evil.py": "`../../evil.py` is not allowed here",
    "/bench test_x.py::test": "is not allowed",
    "/bench bert": "`bert` is not allowed here",
    "/bench ''": "an empty word is not allowed",
    "/bench =": "an empty word is not allowed",
    # files of arguments, which pytest reads
    "/bench @file": "`@file` is not allowed here",
    "/bench -k @file": "-k `@file` is not allowed",
    "/bench -k=@file": "-k `@file` is not allowed",
    "/bench --bench-targets @file": "`@file` is not allowed",
    "/bench --bench-targets cpu,@file": "`cpu,@file` is not allowed",
    # names
    "/bench --bench-prof strict": "`--bench-prof` is not allowed here",
    "/bench --BENCH-PROFILE strict": "`--BENCH-PROFILE` is not allowed here",
    "/bench -K bert": "`-K` is not allowed here",
    "/bench -kbert": "`-kbert` is not allowed here",
    "/bench --k bert": "`--k` is not allowed here",
    "/bench -bench-profile strict": "`-bench-profile` is not allowed here",
    # values
    "/bench -k": "-k needs a value",
    "/bench -k -p": "-k needs a value",
    "/bench -k --bench-all": "-k needs a value",
    "/bench -k=": "-k an empty word is not allowed",
    "/bench -k=-p": "-k `-p` is not allowed",
    "/bench -k ''": "-k an empty word is not allowed",
    "/bench -k ' '": "-k ` ` is not allowed",
    "/bench -k=..": "-k `..` is not allowed",
    "/bench -k a=b": "-k `a=b` is not allowed",
    "/bench -k a/b": "is not allowed",
    '/bench -k "a b"': "is not allowed",
    '/bench -k "a and"': "is not allowed",
    '/bench -k "or a"': "is not allowed",
    '/bench -k "not"': "is not allowed",
    '/bench -k "(a"': "is not allowed",
    '/bench -k "a)"': "is not allowed",
    '/bench -k "()"': "is not allowed",
    '/bench -k "a (b)"': "is not allowed",
    '/bench -k "a not b"': "is not allowed",
    "/bench -k bert and compile": "`and` is not allowed here",
    "/bench --bench-profile": "--bench-profile needs a value: one of normal, strict, noisy",
    "/bench --bench-profile=../..": "allowed: one of normal, strict, noisy",
    "/bench --bench-profile Strict": "allowed: one of normal, strict, noisy",
    "/bench --bench-profile 'strict '": "allowed: one of normal, strict, noisy",
    "/bench --bench-budget long": "allowed: one of quick, normal",
    "/bench --bench-limit 59": "a whole number from 60 to 3600",
    "/bench --bench-limit 3601": "a whole number from 60 to 3600",
    "/bench --bench-limit 1e3": "a whole number from 60 to 3600",
    "/bench --bench-limit=-60": "a whole number from 60 to 3600",
    "/bench --bench-limit 999999999999999999999": "a whole number from 60 to 3600",
    "/bench --bench-all=yes": "--bench-all takes no value",
    "/bench --bench-all=": "--bench-all takes no value",
    "/bench --bench-targets -x": "--bench-targets needs a value",
    "/bench --bench-targets ../x": "is not allowed",
    "/bench -k a -k b": "-k is given twice",
    "/bench --bench-all --bench-all": "--bench-all is given twice",
    "/bench --bench-profile=noisy --bench-profile strict": "--bench-profile is given twice",
    # letters that look like others
    "/bench \u2013k bert": "character 8 is U+2013 (EN DASH): write the - of the keyboard",
    "/bench \u2014bench-all": "U+2014 (EM DASH): write the - of the keyboard",
    "/bench \u2212k bert": "U+2212 (MINUS SIGN): write the - of the keyboard",
    "/bench -k \u201cbert\u201d": 'U+201C (LEFT DOUBLE QUOTATION MARK): write the " of the keyboard',
    "/bench -k \u2018bert\u2019": 'write the " of the keyboard',
    "/bench -k \uff02bert\uff02": 'U+FF02 (FULLWIDTH QUOTATION MARK): write the " of the keyboard',
    "/bench\u00a0-k bert": "U+00A0 (NO-BREAK SPACE)",
    "/bench -k b\u0435rt": "U+0435 (CYRILLIC SMALL LETTER IE)",
    "/bench -k \u202etreb": "U+202E",
    "/bench -k be\u200brt": "U+200B",
    "/bench --bench-limit \u0661\u0662\u0660": "U+0661",
    # quotes, lengths
    '/bench -k "bert': "not well quoted",
    "/bench -k bert'": "not well quoted",
    "/bench -k bert\\": "not well quoted",
    "/bench -k " + "a" * 201: "has 201 characters, at most 200",
    "/bench -k " + "(" * 150 + "a" + ")" * 150: "has 301 characters, at most 200",
    "/bench " + "x" * 500: "has 507 characters, at most 500",
    "/bench " + "-k a " * 20_000: "characters, at most 500",
    "/bench\n" + "a\n" * 50_000: "is one line",
}

OTHERS = (
    "",
    "bench",
    "/benchmark",
    "/bench-all",
    "/bench, please",
    "/Bench",
    " /bench",
    "\n/bench",
    "> /bench",
    "please /bench",
    "say\n/bench",
    "//bench",
    "\ufeff/bench",
    "\uff0fbench",
)


def of_pytest(arguments):
    """Return what pytest's own parser makes of arguments: the options that they set, and files."""
    parser = get_config()._parser
    options.add(parser)
    default, given = (vars(parser.parse_known_args(words)) for words in ([], arguments))
    return {name: value for name, value in given.items() if value != default[name]}


def short(comment):
    return ascii(comment[:40])


@pytest.mark.parametrize("comment", GOOD, ids=short)
def test_a_good_command_is_accepted(comment):
    assert bench_command.is_command(comment)
    assert bench_command.parse(comment) == GOOD[comment]


@pytest.mark.parametrize("comment", BAD, ids=short)
def test_a_bad_command_is_refused_in_one_line_that_names_it(comment):
    assert bench_command.is_command(comment)
    with pytest.raises(bench_command.CommandError) as refused:
        bench_command.parse(comment)

    text = str(refused.value)
    assert BAD[comment] in text
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 400


@pytest.mark.parametrize("comment", OTHERS, ids=short)
def test_other_comments_are_no_business_of_ours(comment):
    assert not bench_command.is_command(comment)
    with pytest.raises(bench_command.CommandError):
        bench_command.parse(comment)


@pytest.mark.parametrize("comment", GOOD, ids=short)
def test_pytest_gets_the_options_of_the_table_and_nothing_else(comment):
    arguments = bench_command.parse(comment)
    read = of_pytest(arguments)

    assert set(read) <= DESTINATIONS
    assert {str(value) for value in read.values() if value is not True} == {
        word for word in arguments if not word.startswith("-")
    }
    Expression.compile(read.get("keyword", "a"))


def test_whatever_is_accepted_is_harmless():
    """Commands put together at random, of words of which many do harm."""
    words = [
        *OPTIONS,
        *"abc()$`;&|<>\\'\"-=@#~*?!%{}[]/.,:+ \n\t\0",
        "and",
        "or",
        "not",
        "..",
        "@f",
    ]
    words += [
        "strict",
        "normal",
        "60",
        "9999",
        "-p",
        "--rootdir",
        "-kx",
        "\u2013",
        " -",
        '"',
        "=",
        " ",
    ]
    generator, accepted = random.Random(0), 0
    for _ in range(20_000):
        comment = "/bench " + "".join(
            generator.choice(words) + generator.choice(("", " "))
            for _ in range(generator.randint(1, 6))
        )
        try:
            arguments = bench_command.parse(comment)
        except bench_command.CommandError:
            continue
        accepted += 1
        joined = shlex.join(arguments)
        assert joined.isascii()
        assert joined.isprintable()
        assert shlex.split(joined) == arguments
        read = of_pytest(arguments)
        assert set(read) <= DESTINATIONS, comment
        Expression.compile(read.get("keyword", "a"))

    assert accepted > 100


OPTIONS = tuple(bench_command.BY_NAME)


def test_the_deepest_expression_is_one_that_pytest_can_compile():
    half = bench_command.LONGEST_VALUE // 2 - 1
    (_, value) = bench_command.parse(f"/bench -k {'(' * half}a{')' * half}")

    assert Expression.compile(value).evaluate(lambda name, **_: name == "a")


def test_the_values_are_those_of_the_options():
    profile, budget = (
        bench_command.BY_NAME[name].value.split("|")
        for name in ("--bench-profile", "--bench-budget")
    )
    assert profile == list(PROFILES)
    assert budget == [name for name in BUDGETS if name != "long"]  # four hours are too long for CI
    ours = {option for option, *_ in options.OPTIONS} | {"-k", "--bench-all"}
    assert set(OPTIONS) <= ours


def test_the_usage_names_every_option():
    assert all(f"[{name}" in bench_command.usage() for name in OPTIONS)
