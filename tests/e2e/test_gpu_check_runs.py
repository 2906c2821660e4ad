"""`make gpu-check` runs pytest in processes of its own."""

from __future__ import annotations

import signal

from evidence import gpu


def test_a_pytest_whose_time_is_up_is_ended_and_says_so():
    """Really: BERT base on the processor takes longer than a moment."""
    # as in what a script starts in the background
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _, problems = gpu.run_pytest(
            ["--bench-targets", "cpu-eager-fp32", "-k", "bert_base"], gpu.GRACE + 6
        )
    finally:
        signal.signal(signal.SIGINT, before)

    assert problems[0].startswith(f"the time was up after {gpu.GRACE + 6:.0f} s")


def test_the_records_of_a_pytest_of_its_own():
    records, problems = gpu.run_pytest(["--bench-targets", "cpu-eager-fp32", "-k", "mlp-b256"], 300)

    assert [found.cell for found in records] == ["mlp-b256-cpu-eager-fp32"]
    assert not problems
