"""The one place that runs git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# hooks are for a user's checkouts, not for those that are measured
NO_HOOKS = ("-c", "core.hooksPath=/dev/null")


def git(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a git command and return the finished process. The caller checks its status.

    Raises ``FileNotFoundError`` if git is not installed.
    """
    # A git hook sets variables that would point every command at the hook's repository and index.
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


def output(root: Path, *command: str) -> str | None:
    """Return the stripped output of a git command, or None if it fails or git is not installed."""
    try:
        done = git(root, *command)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
