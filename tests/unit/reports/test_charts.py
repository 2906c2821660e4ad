"""Figures: valid for Plotly, escaped, and telling what the records tell."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from paritygate.core.record import Status
from paritygate_reports import changepoints, compare
from paritygate_reports.frame import frame, from_records
from paritygate_reports.view import charts
from tests.support import history

RUN, RECORDS = history.runs()[-1]


def points():
    return frame((run, record) for run, records in history.runs() for record in records)


def every_figure(records):
    told = frame((run, record) for run, _ in history.runs() for record in records)
    series = told[(told["cell"] == records[1].cell) & told["latency_p50"].notna()]
    return {
        "speed": charts.speed_map(records),
        "throughput": charts.throughput(records),
        "latency": charts.latency(records),
        "parity": charts.parity(records),
        "memory": charts.memory(records),
        "prepare": charts.prepare(records),
        "trend": charts.trend(series, changepoints(series)),
        "effects": charts.effects(compare(told, from_records(replace(RUN, id="now"), records))),
    }


@pytest.mark.parametrize("name", every_figure(RECORDS))
def test_every_figure_is_valid_for_plotly(name):
    figure = every_figure(RECORDS)[name]

    assert figure is not None
    assert go.Figure(figure).data  # raises for a property or a value that Plotly does not know


@pytest.mark.parametrize(
    "name", ["<b>bold</b>", "<a href='javascript:alert(1)'>x</a>", "%{y}", "a\nb\x1b[31m", "&lt;"]
)
def test_hostile_names_are_data_and_escaped(name):
    records = [
        replace(record, cell=name + str(n), case=name, unit=name)
        for n, record in enumerate(RECORDS)
    ]
    for told in every_figure(records).values():
        figure = go.Figure(told)
        texts = [
            text
            for trace in figure.data
            for text in np.ravel(trace.customdata if trace.customdata is not None else [])
        ]
        templates = {trace.hovertemplate for trace in figure.data if trace.hovertemplate}
        assert not any(
            "<b>bold" in text or "<a href" in text or "\x1b" in text for text in map(str, texts)
        )
        assert templates <= {"%{customdata}<extra></extra>"}


def test_the_map_shows_powers_of_two_and_marks_failures():
    (trace,) = charts.speed_map(RECORDS)["data"]

    assert trace["x"] == ["cpu-eager-fp32", "cpu-compile-fp32", "cpu-onnxruntime-fp32"]
    assert trace["z"] == [[0.0, pytest.approx(0.848, abs=1e-3), None]]
    assert trace["text"] == [["1.00x", "1.80x", "✗"]]
    assert "parity failed: logits differ by 3 %" in trace["customdata"][0][2]


def test_the_interval_of_a_bar_is_that_of_the_median():
    bar = charts.throughput(RECORDS)["data"][0]
    record = RECORDS[0]

    assert bar["x"][0] + bar["error_x"]["array"][0] == pytest.approx(
        record.units / record.interval_low
    )
    assert bar["x"][0] - bar["error_x"]["arrayminus"][0] == pytest.approx(
        record.units / record.interval_high
    )


def test_a_trend_has_its_commits_its_levels_and_its_changes():
    told = points()
    series = told[told["cell"] == history.COMPILED.cell]
    figure = charts.trend(series, changepoints(series))
    dots, levels = figure["data"]

    assert len(dots["x"]) == history.DAYS
    assert f"main@{history.commit(history.CHANGED)[:10]}" in dots["customdata"][history.CHANGED]
    before, after = levels["y"][0], levels["y"][3]
    assert after / before == pytest.approx(history.STEP, abs=0.02)
    assert levels["x"][1] == dots["x"][history.CHANGED - 1]
    assert figure["layout"]["annotations"][0]["text"].startswith("▲ +")


def test_what_was_not_measured_has_no_figure():
    nothing = [
        replace(
            RECORDS[0],
            status=Status.SKIPPED,
            speedup=None,
            error_share=None,
            peak_bytes=None,
            prepare_seconds=None,
        )
    ]

    assert (
        charts.speed_map(nothing)
        is charts.parity(nothing)
        is charts.memory(nothing)
        is charts.prepare(nothing)
        is None
    )
    assert charts.effects(compare(points().iloc[:0], from_records(RUN, RECORDS))) is None


def test_infinities_do_not_reach_a_log_axis():
    (trace,) = charts.parity([replace(RECORDS[0], error_share=float("inf")), RECORDS[0]])["data"]

    assert trace["x"] == [0.25]


def test_colours_come_with_symbols():
    many = [replace(RECORDS[0], cell=str(n), backend=f"b{n}") for n in range(7)]
    traces = charts.parity(many)["data"]

    assert (
        len({trace["marker"]["symbol"] for trace in traces})
        == len({trace["marker"]["color"] for trace in traces})
        == 7
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0])
def test_values_that_are_none_never_reach_the_page(value):
    spoilt = [
        replace(
            record,
            throughput=value,
            interval_high=value,
            interval_low=value,
            speedup=value,
            peak_bytes=None,
            prepare_seconds=value,
            latency_p50=value,
        )
        for record in RECORDS[:2]
    ]
    figures = [
        charts.throughput(spoilt),
        charts.latency(spoilt),
        charts.speed_map([*spoilt, RECORDS[2]]),
        charts.prepare(spoilt),
    ]

    assert "NaN" not in json.dumps(figures)
    assert "Infinity" not in json.dumps(figures)
