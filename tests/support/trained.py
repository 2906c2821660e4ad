"""``trained``: one cache of trained weights for all tests of a session, also for those that run side
by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def trained_folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of the cache; xdist's workers have their base folders in one of the session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "trained"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def trained(trained_folder: Path) -> Iterator[Path]:
    """The cache, used by the tests of a module: each model is trained once a session. Returns the
    folder of the weights.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARITYGATE_CACHE", str(trained_folder))
        yield trained_folder / "weights"
