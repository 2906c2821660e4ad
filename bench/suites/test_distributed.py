"""Data-parallel training: one process, and the same steps shared by the ranks of
DistributedDataParallel.
"""

from paritygate import Case, Shape, cell_tests

CASES = (
    Case(
        "ddp_digits",
        model="models.distributed:OneProcess",
        inputs="models.distributed:global_batches",
        shapes={
            "b64_k5": Shape({"batch": 64, "steps": 5}, budget="normal")
        },  # ranks take seconds to start
        unit="sample",
        count=("batch", "steps"),
        targets=("*-eager-fp32",),
        variants={"ddp_1": "models.distributed:ddp_1", "ddp_2": "models.distributed:ddp_2"},
        reference="eager",
        tolerance="fp32_gradients",  # ranks add up gradients in another order
    ),
)

test_parity, test_throughput = cell_tests(CASES)
