"""Chromium without a screen, for tests that look at pages as users do; what it complains of is
kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def executable() -> str:
    """Chromium's path; skips the test where there is none, fails it in CI, which installs it."""
    found = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if found is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say("no Chromium on this machine: apt-get install chromium")
    return str(found)


class Look:
    """A page in a window, with what it asked for and complained of."""

    def __init__(self, window: Any) -> None:
        self.window = window
        self.requests: list[str] = []
        self.complaints: list[str] = []
        window.on("request", lambda request: self.requests.append(request.url))
        window.on("console", self._said)
        window.on("pageerror", lambda error: self.complaints.append(str(error)))
        window.on("dialog", self._asked)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _asked(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: Path) -> Look:
        """Load a file and wait until what is in view is drawn."""
        self.window.goto(path.as_uri())
        self.window.wait_for_load_state("load")
        return self

    def shown(self, name: str) -> Any:
        """The figure of that name, scrolled into view and drawn."""
        figure = self.window.locator(f'.figure[data-figure="{name}"]')
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for()
        return figure


@contextmanager
def browser() -> Iterator[Any]:
    """A running Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # as root, as in many containers, Chromium has no sandbox; the pages are our own
        started = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


def look(started: Any, width: int = 1280, dark: bool = False) -> Look:
    """A new window."""
    context = started.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        permissions=["clipboard-read", "clipboard-write"],
    )
    return Look(context.new_page())
