"""The mutation score of a user's own project, from option to warning."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm")
FAINT = """
    import torch

    class Faint(torch.nn.Module):
        '''A weight beside which another one does not count.'''

        def __init__(self):
            super().__init__()
            self.loud, self.faint = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
            with torch.no_grad():
                self.faint.weight.mul_(1e-5), self.faint.bias.mul_(1e-5)

        def forward(self, x):
            return self.loud(x) + self.faint(x)

    def rows(sizes, generator):
        return (torch.randn(sizes["batch"], 8, generator=generator),)
"""
CASE = """
    CASES = (Case("faint", model="my_model:Faint", inputs="my_model:rows", shapes={"b8": {"batch": 8}}),)
"""


@pytest.fixture
def faint(project):
    project.write("my_model.py", FAINT)
    project.suite(CASE)
    return project


def test_on_demand_the_worker_names_the_weights_that_nobody_would_miss(faint):
    result = faint.run("--bench-mutation", "on", "--benchmark-disable")
    (record,) = faint.records().values()
    assert record.facts["mutation"]["unnoticed"] == ["faint.weight", "faint.bias"]
    assert (record.facts["mutation"]["weights"], record.facts["mutation"]["noticed"]) == (4, 0.5)
    assert record.warnings[0].startswith(
        "insensitive: 50% of 4 weights could be wrong by 1e-3 and the check would not notice"
    )
    result.stdout.fnmatch_lines(["*insensitive: 50% of 4 weights could be wrong*"])


@pytest.mark.parametrize(
    ("arguments", "measured"),
    [
        ((), False),
        (("--bench-budget", "normal"), True),
        (("--bench-budget", "normal", "--bench-mutation", "off"), False),
    ],
)
def test_the_budget_says_whether_it_is_measured(faint, arguments, measured):
    faint.run("--benchmark-disable", *arguments)
    (record,) = faint.records().values()
    assert (str(record.status), "mutation" in record.facts) == ("ok", measured)


def test_another_value_of_the_option_is_refused(faint):
    faint.run("--bench-mutation", "yes").stderr.fnmatch_lines(
        ["*--bench-mutation: 'yes' must be auto, on or off"]
    )
