"""Post the gate's report on its pull request, or edit the comment that is there.

    HEAD_SHA=... RUN_URL=... [NUMBER=... ASKED=...] python post_comment.py FOLDER

The folder was left by code of the pull request. Its text is shown, and nothing of it is believed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from github_api import ApiError, Repository, annotation

MARKER = "<!-- paritygate -->"
LONGEST = 60_000  # of the 65,536 characters of a comment


def text_of(path: Path) -> str:
    """Return the beginning of a text file, or "" if there is no such plain file."""
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(LONGEST + 1)
    return text if len(text) <= LONGEST else text[:LONGEST] + "\n\n*The rest is in the log.*"


def main(folder: Path) -> int:
    """Run the step; 1 where the number of the pull request cannot be believed."""
    measured, log = os.environ["HEAD_SHA"], f"[log]({os.environ['RUN_URL']})"
    number, asked = os.environ.get("NUMBER", ""), os.environ.get("ASKED", "")
    repository = Repository()

    believed = bool(number)
    if not believed:
        digits = "".join(
            digit for digit in text_of(folder / "pull_request") if digit in "0123456789"
        )
        number = digits[:10] or "0"
    head = repository.get(f"pulls/{int(number)}")["head"]["sha"]
    if head != measured and not believed:  # it could be anybody's pull request
        print(annotation("error", f"pull request {int(number)} is not at {measured}"))
        return 1

    lines = [f"Commit {measured[:10]}{f', {asked}' if asked else ''} ({log})."]
    if head != measured:
        lines.append(f"**The pull request is at {head[:10]} by now, which was not measured.**")
    nothing = f"**paritygate compared nothing**: the run left no report, see its {log}."
    lines.append(text_of(folder / "report.md") or nothing)
    repository.put_comment(int(number), MARKER, "\n\n".join(lines))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1])))
    except ApiError as error:
        sys.exit(annotation("error", str(error)))
