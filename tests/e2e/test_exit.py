"""Exit statuses end to end: each cause is planted, each gets its own status."""

from __future__ import annotations

import pytest

BOTH = "cpu-eager-fp32,cpu-off-fp32"
ONE = """
    CASES = (
        Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={{"b8": {{"batch": 8}}}}, {more}),
    )
"""
OWN = """
    def test_own_arithmetic():
        assert 1 + 1 == 3
"""
NO_DEVICE = """
    from paritygate.session import targets

    pytest_plugins = ["paritygate.plugin", "paritygate_reports.plugin"]
    targets.absent = lambda device: "no device (taken away)" if device == "cuda" else None
"""
PARITY_ONLY = """
    @pytest.mark.cells(CASES)
    def test_parity(cell):
        cell.assert_parity()
"""


def test_all_ok_is_0_and_a_failure_of_the_users_own_is_1(project):
    project.write("test_own.py", OWN)
    result = project.run()
    result.assert_outcomes(passed=4, failed=1)
    assert result.ret == 1
    assert project.run("test_my_model.py", "-k", "one", "--benchmark-disable").ret == 0


def test_a_failure_of_the_users_own_is_1_even_beside_a_parity_failure(project):
    project.backend("off", "tensor + 1")
    project.suite(ONE.format(more=""), PARITY_ONLY)
    assert project.run(targets=BOTH).ret == 10
    project.write("test_own.py", OWN)
    assert project.run(targets=BOTH).ret == 1


def test_a_users_assertion_about_a_cell_is_1(project):
    project.suite(
        ONE.format(more=""),
        """
        @pytest.mark.cells(CASES)
        def test_parity(cell):
            cell.assert_parity()
            assert cell.record.error is None
    """,
    )
    assert project.run().ret == 1


@pytest.mark.parametrize(
    ("targets", "more", "reason"),
    [
        ("cuda", "", "*SKIPPED*: cuda: no device*"),
        ("eager", 'skips={"eager": "not today"}', "*SKIPPED*: not today*"),
        ("eager", 'targets=["cuda-*"]', "*SKIPPED*no case wants these targets*"),
    ],
    ids=["absent device", "skips", "unwanted targets"],
)
def test_nothing_measured_is_14(project, targets, more, reason):
    project.write("conftest.py", NO_DEVICE)  # also where there is one
    project.suite(ONE.format(more=more))
    result = project.run("-rs", targets=targets)
    result.stdout.fnmatch_lines([reason])
    assert "passed" not in result.parseoutcomes()
    assert result.ret == 14
    assert result.outlines[-1].startswith("paritygate: exit status 14: ")


def test_nothing_selected_and_nothing_wanted_are_pytests_own(project):
    assert project.run("-k", "nothing").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert project.run("--collect-only").ret == 0


def test_unchecked_is_0_and_strictly_15(project):
    project.write(
        "my_nan.py",
        """
        from my_model import Net, inputs

        class Nan(Net):
            def forward(self, x):
                return super().forward(x) / 0
    """,
    )
    project.suite("""
        CASES = (
            Case("nan", model="my_nan:Nan", inputs="my_nan:inputs", shapes={"b8": {"batch": 8}}),
            Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
        )
    """)
    result = project.run("-rs")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["*SKIPPED*reference not finite*"])
    assert result.ret == 0
    assert project.statuses() == {
        "nan-b8-cpu-eager-fp32": "unchecked",
        "one-b8-cpu-eager-fp32": "ok",
    }
    assert project.run("--bench-strict", "--benchmark-disable").ret == 15


UNCHECKED = """
    import torch
    from my_model import Net, inputs

    class Forgetful(Net):
        def forward(self, x):
            return torch.nn.functional.dropout(super().forward(x), 0.5, training=True)

    class Single(Net):
        def forward(self, x):
            if x.dtype == torch.float64:
                raise TypeError("no kernel for Double")
            return super().forward(x)

    class Nan(Net):
        def forward(self, x):
            return super().forward(x) / 0
"""
NOT_ONE = """
    CASES = tuple(
        Case(name.lower(), model=f"my_odd:{name}", inputs="my_odd:inputs", shapes={"b8": {"batch": 8}}, skips=skips)
        for name, skips in (("Forgetful", {}), ("Single", {}), ("Nan", {}), ("Net", {"eager": "not today"}))
    )
"""


def test_where_every_cell_is_unchecked_or_skipped_nothing_was_compared_which_is_14(project):
    project.write("my_odd.py", UNCHECKED)
    project.suite(NOT_ONE, PARITY_ONLY)
    result = project.run("-rs")

    result.assert_outcomes(skipped=4)
    assert sorted(project.statuses().values()) == ["skipped", "unchecked", "unchecked", "unchecked"]
    assert result.ret == 14
    assert result.outlines[-1] == (
        "paritygate: exit status 14: nothing was compared: 4 cells, each skipped or unchecked"
    )
    assert project.run("--bench-strict", "-k", "nan").ret == 14

    project.suite(NOT_ONE)  # with test_throughput
    result = project.run("-rs", "-k", "single")
    reason = project.records()["single-b8-cpu-eager-fp32"].reason
    assert result.stdout.str().count(f": single-b8-cpu-eager-fp32: unchecked: {reason}\n") == 2, (
        "each says all of it"
    )
    assert result.ret == 14


def test_a_known_gap_is_expected_and_its_end_is_told(project):
    project.backend("off", "tensor + 1")
    project.suite(ONE.format(more='known_failures={"off": "issue 12", "eager": "issue 11"}'))
    result = project.run("-rx", targets=BOTH)
    result.assert_outcomes(passed=2, xfailed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "fixed, remove from known_failures",
            "*one-b8-cpu-eager-fp32: issue 11",
            "XFAIL*one-b8-cpu-off-fp32*known failure: issue 12*",
        ]
    )
    assert result.ret == 0
    strict = project.run("--bench-strict", "--benchmark-disable", targets=BOTH)
    strict.stdout.fnmatch_lines(
        ["*one-b8-cpu-eager-fp32: fixed (issue 11); remove it from known_failures*"]
    )
    assert strict.ret == 10
