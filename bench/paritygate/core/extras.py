"""EXTRAS: optional packages, and the extra of paritygate that installs each."""

from __future__ import annotations

EXTRAS = {
    "jinja2": "reports",
    "matplotlib": "reports",
    "plotext": "reports",
    "plotly": "reports",
    "pyarrow": "reports",
    "ruptures": "reports",
    "psycopg": "postgresql",
    "sklearn": "models",
    "transformers": "models",
}
"""Top-level module -> extra, as in ``[project.optional-dependencies]``."""


def install(error: BaseException) -> str | None:
    """Return what to install where an import failed because an extra is missing; None for any other
    error.
    """
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name not in EXTRAS:
        return None
    return f"this needs {name}: pip install 'paritygate[{EXTRAS[name]}]'"
