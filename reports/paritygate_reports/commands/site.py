"""Write static pages for every machine and branch of the store, e.g. for GitHub Pages.

Writes an index.html, and a page for the newest run of each branch on each machine with its history.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from paritygate.core.reasons import counted
from paritygate_reports.commands import opened

EXAMPLES = (
    "paritygate site public/",
    "paritygate site public/ --branch main --branch release",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="the pages are written here; other files in it stay",
    )
    parser.add_argument(
        "--branch",
        action="append",
        metavar="NAME",
        help="only this one (may be given several times)",
    )


def run(parsed: argparse.Namespace) -> int:
    """Write the pages, the index last."""
    from paritygate_reports.view.site import parts, write_index, write_page

    store = opened(parsed)
    site_parts = parts(store, parsed.branch)
    for part in tqdm(site_parts, "pages", disable=None):
        write_page(parsed.folder, store, part)
    write_index(parsed.folder, store, site_parts)
    print(f"{counted(len(site_parts), 'page')} and {parsed.folder / 'index.html'}")
    return 0
