"""A project that ``bench_build`` builds: its command, and its first commit."""

from __future__ import annotations

import subprocess

# compiles nothing: what matters is which files it leaves, and where it runs
SCRIPT = """
import os, pathlib, shutil, subprocess, sys
text = pathlib.Path("fast.c").read_text()
print("compiling", text)
if "error" in text:
    sys.exit(3)
if "hang" in text or "leave" in text:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("started", child.pid, flush=True)
    if "leave" in text:
        sys.exit(3)
    child.wait()
inside = subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True).returncode == 0
told = [os.getcwd(), str(inside), str(sys.stdin.read() == ""), sys.argv[1]]
pathlib.Path("told.txt").write_text("\\n".join(told))
if "nothing" not in text:
    pathlib.Path("_fast.so").write_text(text)
"""


def commit_all(folder):
    """Make a repository of a folder, with all its files in one commit."""
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
