"""The page of a run: what it gathers from a store, and what its HTML is made of."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from paritygate.core.record import Status
from paritygate_reports.renderers.html import render, tone
from paritygate_reports.store.database import StoreError
from paritygate_reports.store.store import Store
from paritygate_reports.view.page import Page, differences, page_of
from tests.support import history


@pytest.fixture(scope="module", name="store")
def _store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store") / "s.sqlite")
    store.write_runs(history.runs())
    store.write_runs(history.runs(history.OTHER, branch="topic", days=3, name="topic"))
    return store


@pytest.fixture(scope="module", name="html")
def _html(store):
    return render(page_of(store, "day-039"), plotly="plotly.js")


class Elements(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def embedded(html, name):
    return json.loads(
        re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.S)[1]
    )


def test_a_run_is_told_against_the_branch_with_the_most_runs(store):
    page = page_of(store, "day-039")

    assert (page.branch, page.advice.baseline, len(page.advice.runs)) == (
        "main",
        "main",
        history.DAYS - 1,
    )
    assert len(page.trends) == 2  # the third cell has no time
    assert list(page.changes["run"]) == [f"day-{history.CHANGED:03}"]
    assert page.records[0].samples


def test_an_earlier_run_knows_nothing_of_later_ones(store):
    page = page_of(store, "day-010")

    assert {len(series) for series in page.trends} == {11}
    assert page.changes.empty


def test_another_branch_or_run_may_be_asked_for(store):
    page = page_of(store, "topic-002", baseline="day-020", branch="main")

    assert [run.id for run in page.advice.runs] == ["day-020"]
    assert page.branch == "main"
    with pytest.raises(StoreError, match="no run of branch 'nowhere'; it has main, topic"):
        page_of(store, branch="nowhere")


def test_differences_are_facts_not_figures():
    before, after = (
        history.MACHINE | {"total_seconds": 3},
        history.OTHER | {"total_seconds": 4, "gate": {}},
    )

    assert differences(before, after) == [("cpu", "EPYC", "Xeon")]


def test_the_parts_of_the_page_are_there(html):
    found = Elements(html)
    ids = {attributes.get("id") for _, attributes in found.tags}

    assert ids >= {
        "overview",
        "speed",
        "group",
        "parity",
        "memory",
        "prepare",
        "trends",
        "comparison",
        "environment",
        "table",
    }
    links = [attributes["href"].lstrip("#") for tag, attributes in found.tags if tag == "a"]
    assert set(links) <= ids
    assert "▲ slower" in found.text
    assert f"--bench-against {history.commit(history.CHANGED - 1)[:12]}" in found.text
    assert len(embedded(html, "choices")["series"]) == 2
    assert next(iter(embedded(html, "choices")["series"])) == f"{history.COMPILED.cell} (1 change)"


def test_a_known_failure_is_counted_apart_from_failures():
    run, _ = history.runs()[-1]
    failed = replace(history.EAGER, status=Status.PARITY_FAILED)
    records = [failed, replace(failed, cell="known", facts={"known_gap": "reported"})]
    cards = re.findall(r'<li class="(\w+)"><b>1</b>.*</span> (.*)</li>', render(Page(run, records)))

    assert cards == [("bad", "parity failed"), ("unknown", "known failure")]


def test_every_cell_is_a_row_with_its_plain_values(html):
    rows = re.findall(r"<tr>(<td data-value.*?)</tr>", html)

    assert len(rows) == 3
    assert f'data-value="{history.EAGER.cell}"' in rows[0]
    assert 'data-value="25"' not in rows[0]
    assert f'data-value="{25 << 20}"' in rows[0]


def test_nothing_is_loaded_from_anywhere(store):
    html = render(page_of(store, "day-039"))
    loading = [
        value
        for tag, attributes in Elements(html).tags
        for name, value in attributes.items()
        if name in ("src", "srcset", "action") or (tag == "link" and name == "href")
    ]

    assert loading == ["data:,"]
    assert "default-src 'none'" in html


HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=hacked=1>{{7*7}}{% x %}"


def test_hostile_texts_stay_texts():
    run, records = history.runs(days=1)[0]
    bad = [
        replace(
            record,
            cell=HOSTILE,
            case=HOSTILE,
            reason=HOSTILE,
            unit=HOSTILE,
            warnings=[HOSTILE],
            facts={"known_gap": HOSTILE},
        )
        for record in records
    ]
    named = replace(run, branch=HOSTILE, environment={HOSTILE: HOSTILE}, absent={HOSTILE: HOSTILE})
    html = render(Page(named, bad, [HOSTILE]), plotly="plotly.js")
    clean = render(Page(run, records, [""]), plotly="plotly.js")
    count = {
        tag: sum(found == tag for found, _ in Elements(html).tags) for tag in ("script", "img")
    }

    assert count == {
        tag: sum(found == tag for found, _ in Elements(clean).tags) for tag in ("script", "img")
    }
    assert HOSTILE in Elements(html).text  # as it stands, {{7*7}} included


def test_a_page_of_one_run_needs_no_store():
    run, records = history.runs(days=1)[0]
    found = Elements(render(Page(run, records), plotly="plotly.js"))
    ids = {attributes.get("id") for _, attributes in found.tags}

    assert "overview" in ids
    assert not {"trends", "comparison"} & ids


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("ok", "good"),
        ("same", "good"),
        ("regressed", "bad"),
        ("parity_failed", "bad"),
        ("inconclusive", "unknown"),
        ("unchecked", "unknown"),
        ("", ""),
    ],
)
def test_a_tone_says_good_bad_or_unknown(word, expected):
    assert tone(word) == expected
