"""Measure how a report of 18,000 points opens and pans in a browser without a screen and without a
GPU.

    python -m bench.evidence.panning

Makes a page of 50 cells with 360 runs each, opens it in Chromium, and drags the trend to and fro.
Prints the time until the first figure is visible, and the time of a frame while dragging and while
nothing moves.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from evidence import command_line
from evidence.million import history
from evidence.screenshots import chromium
from paritygate_reports.renderers.html import render
from paritygate_reports.store.store import Store
from paritygate_reports.view.page import page_of

RUNS, CELLS = 400, 50  # some of the 400 runs belong to other branches and machines
FRAMES = """async (dragged) => {
  const place = document.querySelector('.figure[data-figure="trend"]');
  const [low, high] = place._fullLayout.xaxis.range.map((end) => new Date(end).getTime());
  const times = [];
  let last = await new Promise(requestAnimationFrame);
  for (let step = 0; step < 60; step += 1) {
    const by = Math.sin(step / 10) * (high - low) / 2;
    const range = [low + by, high + by].map((end) => new Date(end).toISOString());
    if (dragged) Plotly.relayout(place, { "xaxis.range": range });
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times;
}"""


def main() -> None:
    """Make the page, open it, drag the trend, and print the results."""
    command_line.parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        store = Store(Path(folder) / "store.sqlite")
        store.write_runs(history(RUNS, CELLS))
        page = page_of(store)
        path = Path(folder) / "report.html"
        path.write_text(render(page), "utf-8")
        points = sum(len(series) for series in page.trends)
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        window = browser.new_page()
        start = time.perf_counter()
        window.goto(path.as_uri())
        window.locator(".figure .main-svg").first.wait_for()
        opened = time.perf_counter() - start
        trend = window.locator('.figure[data-figure="trend"]')
        trend.scroll_into_view_if_needed()
        trend.locator(".main-svg").first.wait_for()
        still, dragged = (
            statistics.median(window.evaluate(FRAMES, drag)) for drag in (False, True)
        )
        browser.close()
    print(f"{points:,} points in {len(page.trends)} trends, first figure after {opened:.2f} s")
    print(f"a frame takes {dragged:.1f} ms dragged, {still:.1f} ms still (median of 60)")


if __name__ == "__main__":
    main()
