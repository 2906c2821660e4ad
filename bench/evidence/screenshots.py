"""Pictures of a run: the table as a terminal shows it, and the top of its HTML report.

    python -m bench.evidence.screenshots [--store FILE] [--run RUN] [--out FOLDER]

Both come from what the commands print and write: ``paritygate show`` in a terminal of 100 columns,
whose colours rich turns into SVG; ``paritygate html`` in Chromium, which must be installed. Default:
the latest run of the store of this folder, say that of ``make bench``, into reports/evidence.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from evidence import command_line

COLUMNS, LINES = 100, 44  # of the terminal, and how many of its lines are shown
WIDTH, HEIGHT = 1200, 1000  # of the browser's window, in CSS pixels
# rich asks a content network for its fonts; a picture that is looked at fetches nothing
FONTS = re.compile(r" *@font-face \{.*?\n *\}\n", re.S)


def main() -> None:
    """Write ``terminal.svg`` and ``report.png``."""
    parser = command_line.parser()
    parser.add_argument("--store", help="the store (default: that of this folder)")
    parser.add_argument("--run", default="latest", help="a run, as `paritygate show` takes it")
    parser.add_argument("--out", type=Path, default=Path("reports/evidence"), help="a folder")
    given = parser.parse_args()
    command = [sys.executable, "-m", "paritygate"]
    command += ["--store", given.store] if given.store else []
    (given.out / "terminal.svg").write_text(
        drawn(printed([*command, "show", given.run]), f"paritygate show {given.run}"), "utf-8"
    )
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        subprocess.run([*command, "html", given.run, "-o", str(page)], check=True)
        photograph(page, given.out / "report.png")


def printed(command: list[str]) -> str:
    """Return what a command writes to a terminal, its colours included."""
    parent, child = pty.openpty()
    environment = os.environ | {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdout=child, stderr=child, env=environment)
    os.close(child)
    parts = []
    while True:
        try:
            part = os.read(parent, 1 << 16)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        parts.append(part)
    process.wait()
    os.close(parent)
    return b"".join(parts).decode().replace("\r\n", "\n")


def drawn(text: str, title: str) -> str:
    """Return the first lines of a terminal's text as SVG."""
    from rich.console import Console
    from rich.text import Text

    lines = text.split("\n")
    shown = "\n".join([*lines[:LINES], *(["..."] if len(lines) > LINES else [])])
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(shown))
        return FONTS.sub("", console.export_svg(title=title))


def chromium() -> str:
    """Return the path of the browser. Raises ``SystemExit`` if there is none."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        raise SystemExit("no Chromium on this machine: apt-get install chromium")
    return path


def photograph(page: Path, picture: Path) -> None:
    """Write what a browser's window shows of a page, to the end of its first figure at most."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        window.goto(page.as_uri())
        figure = window.locator(".figure").first
        figure.locator(".main-svg").first.wait_for()
        box = figure.bounding_box()
        assert box is not None  # it is drawn
        end = min(box["y"] + box["height"], HEIGHT)
        window.screenshot(path=picture, clip={"x": 0, "y": 0, "width": WIDTH, "height": end})
        browser.close()


if __name__ == "__main__":
    main()
