"""METRICS: the numbers of a record that say how good a cell is, one row each.

The DataFrame takes unit and meaning from here. Tables, charts and comparisons choose their fields
themselves; see CONTRIBUTING.md, "Add a metric".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One column of the record: its name, unit, direction, and how to show it.

    - ``unit``: ``"s"``, ``"B"``, ``"{unit}/s"``, ``"x"`` (a ratio) or ``"1"`` (a plain number).
    - ``better``: ``"higher"``, ``"lower"``, or ``""`` where neither is better.
    - ``kind``: ``"timing"`` (noisy, judged by statistics) or ``"fact"`` (exact, compared as it is).
    """

    name: str
    label: str
    unit: str
    better: str
    kind: str
    meaning: str


METRICS = (
    Metric(
        "throughput",
        "throughput",
        "{unit}/s",
        "higher",
        "timing",
        "units per second at the median block mean",
    ),
    Metric("latency_p50", "p50", "s", "lower", "timing", "median of the samples, per call"),
    Metric(
        "latency_p90", "p90", "s", "lower", "timing", "90th percentile of the samples, per call"
    ),
    Metric(
        "latency_p99", "p99", "s", "lower", "timing", "99th percentile of the samples, per call"
    ),
    Metric(
        "speedup",
        "vs eager",
        "x",
        "higher",
        "timing",
        "eager's time over this cell's, interleaved in one run",
    ),
    Metric(
        "error", "error", "1", "lower", "fact", "norm of the difference over norm of the reference"
    ),
    Metric(
        "error_share", "of allowed", "1", "lower", "fact", "the error as a share of what is allowed"
    ),
    Metric(
        "accuracy", "accuracy", "1", "higher", "fact", "share of labelled samples answered rightly"
    ),
    Metric("peak_bytes", "memory", "B", "lower", "fact", "peak of the worker above its start"),
    Metric(
        "prepare_seconds", "prepare", "s", "lower", "timing", "until the first answer, caches warm"
    ),
    Metric(
        "prepare_cold_seconds",
        "cold",
        "s",
        "lower",
        "timing",
        "until the first answer, caches empty",
    ),
    Metric("parameters", "parameters", "1", "", "fact", "numbers in the model's weights"),
    Metric("flops", "FLOPs", "1", "lower", "fact", "of one call, counted in eager"),
)

METRIC = {metric.name: metric for metric in METRICS}
