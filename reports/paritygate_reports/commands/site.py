"""Write static pages for every machine and branch of the store, e.g. for GitHub Pages.

An index.html, and a page for the newest run of each branch on each machine with its history.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from paritygate_reports.commands import opened
from paritygate_reports.view import text

EXAMPLES = (
    "paritygate site public/",
    "paritygate site public/ --branch main --branch release",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="the pages are written here; what else is in it stays",
    )
    parser.add_argument(
        "--branch",
        action="append",
        metavar="NAME",
        help="only this one (may be given several times)",
    )


def run(parsed: argparse.Namespace) -> int:
    """Writes the pages, the index last."""
    from paritygate_reports.view.site import parts, write_index, write_page

    store = opened(parsed)
    found = parts(store, parsed.branch)
    for part in tqdm(found, "pages", disable=None):
        write_page(parsed.folder, store, part)
    write_index(parsed.folder, store, found)
    print(f"{text.counted(len(found), 'page')} and {parsed.folder / 'index.html'}")
    return 0
