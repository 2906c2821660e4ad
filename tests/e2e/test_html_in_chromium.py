"""The HTML report in a real browser: it draws, sorts, filters, copies, hovers, and neither fetches
nor complains.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from paritygate_reports.renderers.html import render
from paritygate_reports.store.store import Store
from paritygate_reports.view.page import Page, page_of
from paritygate_reports.view.site import parts, write_index, write_page
from tests.support import chromium, history


@pytest.fixture(scope="module", name="started")
def _started():
    with chromium.browser() as started:
        yield started


@pytest.fixture(scope="module", name="store")
def _store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store") / "s.sqlite")
    store.write_runs(history.runs())
    return store


@pytest.fixture(scope="module", name="report")
def _report(store, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(page_of(store)), "utf-8")
    return path


FIGURES = ("speed", "throughput", "latency", "parity", "memory", "prepare", "trend", "effects")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_figure_is_drawn_and_nothing_asked_for_or_complained_of(started, report, width, dark):
    page = chromium.look(started, width, dark).open(report)
    for name in FIGURES:
        assert page.shown(name).locator("svg").count() >= 1

    assert page.requests == [report.as_uri()]
    assert page.complaints == []
    overflow = page.window.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert overflow <= 0


def test_the_text_can_be_read_on_its_ground_in_both_modes(started, report):
    """WCAG asks for a contrast of 4.5."""
    contrast = """() => {
      const light = (text) => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => {
        v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const ground = light(getComputedStyle(document.body).backgroundColor);
      return [...document.querySelectorAll('p, h1, h2, td, .quiet, .good, .bad, .unknown, a')].map((element) => {
        const one = light(getComputedStyle(element).color);
        return (Math.max(one, ground) + 0.05) / (Math.min(one, ground) + 0.05); });
    }"""
    for dark in (False, True):
        page = chromium.look(started, dark=dark).open(report)
        assert min(page.window.evaluate(contrast)) >= 4.5


def test_a_hover_shows_the_commit(started, report):
    page = chromium.look(started).open(report)
    figure = page.shown("trend")
    figure.locator(".scatterlayer .points path").nth(history.CHANGED).hover(force=True)
    told = page.window.locator(".hoverlayer .hovertext")
    told.first.wait_for()

    assert f"main@{history.commit(history.CHANGED)[:10]}" in told.first.text_content()


def test_the_table_sorts_filters_and_copies_by_keyboard(started, report):
    page = chromium.look(started).open(report).window
    cells = page.locator("#cells tbody tr:not([hidden]) td:first-child")
    page.get_by_role("button", name="vs eager").focus()
    page.keyboard.press("Enter")
    assert cells.all_inner_texts() == [
        history.EAGER.cell,
        history.COMPILED.cell,
        history.FAILED.cell,
    ]
    page.keyboard.press("Enter")
    # unknown last
    assert cells.all_inner_texts() == [
        history.COMPILED.cell,
        history.EAGER.cell,
        history.FAILED.cell,
    ]
    assert page.locator("#cells th[aria-sort=descending]").inner_text().startswith("vs eager")

    page.get_by_label("Filter").fill("COMPILE ok")
    assert cells.all_inner_texts() == [history.COMPILED.cell]
    assert page.locator("[data-count]").inner_text() == "1 of 3 cells"
    page.get_by_role("button", name="Copy as CSV").press("Enter")
    head, row, *rest = page.evaluate("navigator.clipboard.readText()").split("\r\n")
    assert head.startswith("cell,status,verdict,per s")
    assert row.startswith(f"{history.COMPILED.cell},ok,,")
    assert rest == [""]


def test_a_chooser_redraws_its_figure(started, report):
    page = chromium.look(started).open(report)
    figure = page.shown("trend")
    before = figure.inner_html()
    chooser = page.window.locator('[data-chooser="series"]')
    chooser.focus()
    page.window.keyboard.press("ArrowDown")

    assert chooser.input_value() == history.EAGER.cell
    assert figure.inner_html() != before


HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"


def test_hostile_names_do_nothing(started, tmp_path):
    run, records = history.runs(days=1)[0]
    bad = [
        replace(
            record,
            cell=f"=1+1{HOSTILE}{n}",
            case=HOSTILE,
            reason=HOSTILE,
            unit=HOSTILE,
            warnings=[HOSTILE],
        )
        for n, record in enumerate(records)
    ]
    path = tmp_path / "report.html"
    path.write_text(
        render(Page(replace(run, branch=HOSTILE, environment={HOSTILE: HOSTILE}), bad, [HOSTILE])),
        "utf-8",
    )
    page = chromium.look(started).open(path)
    for name in ("speed", "throughput", "latency", "parity"):
        page.shown(name)
    page.window.locator('.figure[data-figure="throughput"] .bars path').first.hover(force=True)
    page.window.get_by_role("button", name="Copy as CSV").click()

    assert page.window.evaluate("window.hacked") is None
    assert page.complaints == []
    assert page.requests == [path.as_uri()]
    assert "<img src=x" in page.window.locator("#cells").inner_text()
    assert (
        page.window.evaluate("navigator.clipboard.readText()").splitlines()[1].startswith("'=1+1")
    )


def test_a_site_leads_from_its_index_to_pages_that_draw(started, store, tmp_path):
    found = parts(store)
    for part in found:
        write_page(tmp_path, store, part)
    write_index(tmp_path, store, found)
    page = chromium.look(started).open(tmp_path / "index.html")
    page.window.get_by_role("link", name="main").click()
    page.shown("trend")

    assert page.complaints == []
    assert [url.rpartition("/")[2] for url in page.requests] == [
        "index.html",
        found[0].file,
        "plotly.min.js",
    ]
