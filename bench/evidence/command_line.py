"""The arguments of the scripts in this folder; ``--help`` prints the docstring of the script."""

from __future__ import annotations

import argparse
import sys


def parser() -> argparse.ArgumentParser:
    """Return a parser for the script that is running, without arguments of its own."""
    script = sys.modules["__main__"]
    return argparse.ArgumentParser(
        prog=f"python -m {script.__spec__.name}" if script.__spec__ else None,
        description=script.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
