"""The gate where head takes longer to prepare: status 11, unless a trailer says that it is meant."""

from __future__ import annotations

import textwrap

from tests.support.repository import ONE, Repository

# Long, so that a busy machine changes the ratio of the two little.
BUILD = textwrap.dedent("""

    import time


    class Built(Net):
        def __init__(self):
            super().__init__()
            time.sleep({seconds})


    Net = Built
""")
MESSAGE = """packs its weights

Bench-Accept: one-* <= 2000 % a slowdown forgives no preparing
Bench-Accept: one-* memory <= 2000 % nor does memory
{more}
"""


def test_a_head_that_is_slower_to_prepare_is_11_unless_it_is_meant(project):
    repository = Repository(project)
    repository.model(BUILD.format(seconds=0.4))
    repository.git("commit", "-q", "-a", "-m", "builds in 0.4 s")
    repository.git("tag", "quick")
    repository.model(BUILD.format(seconds=2.4))
    repository.git("commit", "-q", "-a", "-m", MESSAGE.format(more=""))
    result = repository.gate(against="quick")

    assert result.ret == 11
    record = project.records()[ONE]
    assert record.verdict == "slower_prepare"
    assert record.verdict_reason.startswith("prepare: 0.")
    assert "more by over the tolerated 20% in " in record.verdict_reason
    result.stdout.fnmatch_lines(
        [
            "head against quick (*), profile noisy: 1 slower prepare",
            "paritygate: exit status 11: 1 cell slower to prepare than the other revision",
        ]
    )

    meant = "Bench-Accept: one-b8-cpu-eager-fp32 prepare <= 2000 % weights are packed"
    repository.git("commit", "-q", "--amend", "-m", MESSAGE.format(more=meant))
    result = repository.gate(against="quick")

    assert result.ret == 0
    record = project.records()[ONE]
    assert record.verdict == "same"
    assert "prepare: accepted up to 2000%: weights are packed" in record.findings
