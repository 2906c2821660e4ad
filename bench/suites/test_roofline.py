"""The attainable speed of this machine: a large matrix product and a large copy. Cells of the same
run are compared with them.

Operations over time are the product's FLOP/s, bytes over time the copy's bytes/s; see
``bench/paritygate/timing/roofline.py``.
"""

from paritygate import Case, Shape, cell_tests

PLAIN = "eager-[!a]*"  # no autocast: it runs the product of its dtype, plus casts


def gemm(name: str, device: str, n: int, budget: str) -> Case:
    """Return a product of matrices (n, n)."""
    return Case(
        name,
        model="models.roofline:Gemm",
        inputs="models.roofline:squares",
        shapes={f"n{n}": Shape({"n": n}, budget=budget)},
        unit="product",
        count=(),
        targets=(f"{device}-{PLAIN}",),
        cold_cache=True,
        deadline=600.0,  # four products of 8,192 squared in float64
    )


def copy(name: str, device: str, mib: int, budget: str) -> Case:
    """Return a copy of so many MiB. It reads and writes as many bytes."""
    return Case(
        name,
        model="models.roofline:Copy",
        inputs="models.roofline:integers",
        shapes={f"mib{mib}": Shape({"mib": mib}, budget=budget)},
        unit="copy",
        count=(),
        targets=(f"{device}-{PLAIN}",),
        reference="eager",  # integers have no float64
        cold_cache=True,
        deadline=600.0,
    )


CASES = (
    gemm("roofline_gemm", "cpu", 1024, "normal"),
    copy("roofline_copy", "cpu", 128, "normal"),
    gemm("roofline_gemm_large", "cuda", 8192, "quick"),
    copy("roofline_copy_large", "cuda", 256, "quick"),
)

test_parity, test_throughput = cell_tests(CASES)
