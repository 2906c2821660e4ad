"""Loading data: an epoch of real digits by the calling process, by worker processes, and into
pinned memory.
"""

from collections.abc import Mapping

from paritygate import Case, Shape, cell_tests

SAMPLES = 1437  # training digits


def epochs(budget: str, *batches: int) -> dict[str, Mapping[str, int] | Shape]:
    """Return shapes named b<batch>, each of one epoch, from the given budget on."""
    return {
        f"b{batch}": Shape({"batch": batch, "samples": SAMPLES}, budget=budget) for batch in batches
    }


CASES = (
    Case(
        "load_digits",
        model="models.loading:Loader",
        inputs="models.loading:epoch",
        shapes=epochs(
            "normal", 32, 1, 128
        ),  # four processes import scikit-learn, which takes seconds before any epoch
        unit="sample",
        count=("samples",),
        targets=("cpu-eager-fp32",),  # data is loaded into the memory of the host
        variants={
            "workers_1": "models.loading:workers_1",
            "workers_2": "models.loading:workers_2",
            "pinned": "models.loading:pinned",
        },
        reference="eager",
    ),
)

test_parity, test_throughput = cell_tests(CASES)
