"""The gate where head needs more memory than base: status 11, unless a trailer says that it is
meant.
"""

from __future__ import annotations

import textwrap

from tests.support.repository import MODEL, ONE, SLOW, Repository

HEAVY = textwrap.dedent("""

    class Heavy(Net):
        def __init__(self):
            super().__init__()
            self.kept = [bytearray(b"1" * 2**20) for _ in range(64)]


    Net = Heavy
""")
MESSAGE = """more memory

Bench-Accept: one-* <= 2000 % a slowdown forgives no memory
{more}
"""


def test_a_heavier_head_is_11_unless_it_is_meant(project):
    """It is faster, too, which two launch pairs decide."""
    repository = Repository(project, SLOW)
    repository.model(HEAVY, MODEL)
    repository.git("commit", "-q", "-a", "-m", MESSAGE.format(more=""))
    result = repository.gate()

    assert result.ret == 11
    record = project.records()[ONE]
    assert record.verdict == "heavier"
    assert record.verdict_reason.startswith("more memory in each of ")
    assert record.verdict_reason.endswith("; its time: improved")
    result.stdout.fnmatch_lines(
        [
            "head against base (*), profile noisy: 1 heavier",
            "paritygate: exit status 11: 1 cell with more memory than the other revision",
        ]
    )

    meant = "Bench-Accept: one-b8-cpu-eager-fp32 memory <= 2000 % weights are kept twice"
    repository.git("commit", "-q", "--amend", "-m", MESSAGE.format(more=meant))
    result = repository.gate()

    assert result.ret == 0
    record = project.records()[ONE]
    assert record.verdict == "improved"
    assert "memory: accepted up to 2000%: weights are kept twice" in record.findings
