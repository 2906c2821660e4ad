"""The work of a cell as its suite declares it. Cells of one id are compared only if it is the same.

The gate asks base's checkout for it: with the environment variable ``FILE``, a collection writes
the work of its cells to that file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from paritygate.core.case import Cell

FILE = "PARITYGATE_CELLS"
DECLARED = ("model", "inputs", "mode", "optimizer", "loss", "train_data", "preprocess", "dynamic")

Work = Mapping[str, str]


def work(cell: Cell) -> Work:
    """Return what decides the work of a call: the sizes, and where model and inputs come from."""
    found: dict[str, object] = {f"size {n}": size for n, size in cell.shape.sizes.items()}
    found |= {name: getattr(cell.case, name) for name in DECLARED}
    found["variant"] = cell.case.variants.get(cell.target.backend)
    return {name: str(value) for name, value in found.items()}


def difference(base: Work, head: Work) -> str:
    """Return how the work differs, as "name: base -> head"; "" if it is the same."""
    return ", ".join(
        f"{name}: {base.get(name)} -> {head.get(name)}"
        for name in sorted({*base, *head})
        if base.get(name) != head.get(name)
    )


def write(path: Path, cells: Iterable[Cell]) -> None:
    """Write the work of some cells, by id."""
    path.write_text(json.dumps({cell.id: work(cell) for cell in cells}))


def read(path: Path) -> dict[str, Work]:
    """Return the work of the cells in a file; nothing if there is no such file."""
    found: dict[str, Work] = json.loads(path.read_text()) if path.exists() else {}
    return found
