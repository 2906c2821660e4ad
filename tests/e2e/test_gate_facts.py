"""The gate where head loses a fact that its case keeps: status 11."""

from __future__ import annotations

from tests.support.repository import ONE, ONLY_ONE

ATTENTION = """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    from tests.support.clock import work


    class Net(torch.nn.Module):
        def forward(self, x):
            work({seconds})
            return {attention}


    def inputs(sizes, generator):
        return (torch.randn(sizes["batch"], 2, 16, 32, generator=generator),)
"""
FUSED = "scaled_dot_product_attention(x, x, x)"
WRITTEN_OUT = "(x @ x.transpose(-1, -2) / 32**0.5).softmax(-1) @ x"


def test_a_lost_kernel_is_11_where_the_case_keeps_it(repository):
    """Head is faster and answers the same, and does without the fused kernel."""
    write = repository.project.write
    repository.project.suite(ONLY_ONE.replace("shapes", 'keeps=("sdpa_kernels",), shapes'))
    write("my_model.py", ATTENTION.format(seconds=0.002, attention=FUSED))
    repository.commit("fused")
    write("my_model.py", ATTENTION.format(seconds=0.001, attention=WRITTEN_OUT))
    result = repository.gate(against="fused")

    assert result.ret == 11
    record = repository.project.records()[ONE]
    assert record.verdict == "fact_changed"
    assert record.verdict_reason.startswith(
        "the case keeps this fact, and it is another: sdpa_kernels: "
    )
    assert record.verdict_reason.endswith("; its time: improved")
    result.stdout.fnmatch_lines(
        [
            "head against fused (*), profile noisy: 1 fact changed",
            "paritygate: exit status 11: 1 cell with another fact, which the case keeps, than *",
        ]
    )
