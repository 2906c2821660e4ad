"""Asks git; the one place that starts it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

NO_HOOKS = ("-c", "core.hooksPath=/dev/null")  # a checkout for measuring is nobody's checkout


def git(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A finished git command; its status is the caller's to look at. Raises ``FileNotFoundError``
    without git.
    """
    # What a git hook sets would point every command at the hook's repository and index.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", *NO_HOOKS, *command],
        cwd=root,
        env=kept | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def said(root: Path, *command: str) -> str | None:
    """What a git command prints, or None where it fails, or there is no git."""
    try:
        done = git(root, *command)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
