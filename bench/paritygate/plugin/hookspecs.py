"""The two hooks of paritygate; implement them in a conftest.py like any pytest hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from paritygate.backends import Backend
    from paritygate.core.record import Record, Run

RUN: pytest.StashKey[Run] = pytest.StashKey()
"""``config.stash[RUN]``: the run of this session, once the first cell is known; xdist's controller
has it too."""

WHY: pytest.StashKey[str] = pytest.StashKey()
"""``config.stash[WHY]``: why the session ends with a status of ours; printed in its last line."""


def pytest_paritygate_backends(config: pytest.Config) -> dict[str, str | Backend] | None:
    """Further backends: name -> module that has ``available``, ``preload`` and ``prepare``, or a
    ``Backend``.

    ``paritygate.backends`` says what these three do. A name has small letters, digits and ``_``. The module is
    imported before collection and must not import torch or a runtime at its top. A backend that makes artefacts or
    runs a backward must be given as a ``Backend``. Example::

        from paritygate.backends import Backend

        def pytest_paritygate_backends(config):
            return {
                "openvino": Backend("openvino", "my_project.openvino_backend", artefact=True),
                "lazy": "my_project.lazy_backend",
            }
    """


def pytest_paritygate_record(config: pytest.Config, run: Run, record: Record) -> None:
    """Called once for each cell, as soon as its record is complete. ``paritygate_reports.plugin``
    stores it.

    With a gate, a cell that failed its check gets a second call, now with a verdict.
    """
