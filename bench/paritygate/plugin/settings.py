"""Read the options of a session once. A wrong value is refused, and the message says what is right."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from paritygate import backends
from paritygate.core.budgets import BUDGETS
from paritygate.core.case import FIELD
from paritygate.gate import build_command
from paritygate.gate.build_command import BuildCommandError
from paritygate.gate.request import PROFILES, GateRequest
from paritygate.plugin.options import gates, strict, value
from paritygate.session import targets
from paritygate.session.options import Options


def read(config: pytest.Config) -> Options:
    """Return the options' values. Raises ``pytest.UsageError`` with the option, the value, and what
    would be right.
    """
    budget = BUDGETS.get(value(config, "bench_budget"))
    if budget is None:
        raise pytest.UsageError(
            f"--bench-budget: {value(config, 'bench_budget')!r} must be one of {', '.join(BUDGETS)}"
        )
    lab, seed = value(config, "bench_lab"), value(config, "bench_seed")
    if (profile := value(config, "bench_profile")) not in PROFILES:
        raise pytest.UsageError(
            f"--bench-profile: {profile!r} must be one of {', '.join(PROFILES)}"
        )
    if lab not in ("on", "off"):
        raise pytest.UsageError(f"--bench-lab: {lab!r} must be on or off")
    if (mutation := value(config, "bench_mutation")) not in ("auto", "on", "off"):
        raise pytest.UsageError(f"--bench-mutation: {mutation!r} must be auto, on or off")
    if not re.fullmatch(r"\d{1,9}", seed):
        raise pytest.UsageError(
            f"--bench-seed: {seed!r} must be a whole number from 0 to 999999999"
        )
    try:
        strict(config)
    except (TypeError, ValueError) as error:  # of pytest below 9
        raise pytest.UsageError(f"ini bench_strict must be true or false: {error}") from None
    _seconds(value(config, "bench_limit"))
    if _planted(config.getoption("--bench-plant")) and not gates(config):
        raise pytest.UsageError(
            "--bench-plant: needs a gate that could find it; give --bench-against, too, e.g. HEAD"
        )
    table = _backends(config)
    try:
        chosen = targets.select(value(config, "bench_targets"), table)
    except targets.TargetError as error:
        raise pytest.UsageError(str(error)) from None
    mutate = budget.mutates if mutation == "auto" else mutation == "on"
    return Options(
        chosen, budget, lab == "on", int(seed), _bytes(value(config, "bench_memory")), table, mutate
    )


def against(config: pytest.Config) -> GateRequest:
    """Return the request of ``--bench-against`` or ``--bench-against-python``. Raises
    ``pytest.UsageError``.
    """
    revision, python = (
        config.getoption("--bench-against"),
        config.getoption("--bench-against-python"),
    )
    if revision is not None and python is not None:
        raise pytest.UsageError(
            "--bench-against and --bench-against-python: give one, else two things differ at once"
        )
    if python is not None and not (Path(python).is_file() and os.access(python, os.X_OK)):
        raise pytest.UsageError(
            f"--bench-against-python: {python!r} is no interpreter; give e.g. /path/to/venv/bin/python"
        )
    if os.name != "posix" or sys.platform == "darwin":
        raise pytest.UsageError(
            "the gate needs Linux: elsewhere nothing verifies that a parked process is stopped"
        )
    removed = {}
    for line in config.getini("bench_removed"):
        cell, colon, reason = line.partition(":")
        if not colon or not reason.strip():
            raise pytest.UsageError(f"ini bench_removed: {line!r} must be `ID: reason`")
        removed[cell.strip()] = reason.strip()
    try:
        build = build_command.read(
            str(config.getini("bench_build")), config.rootpath, sys.executable
        )
    except BuildCommandError as error:
        raise pytest.UsageError(str(error)) from None
    python = None if python is None else str(Path(python).absolute())
    profile = value(config, "bench_profile")
    return GateRequest(
        revision or "HEAD",
        python,
        profile,
        list(config.getini("bench_source")),
        removed,
        _seconds(value(config, "bench_limit")),
        bool(config.getoption("--bench-all")),
        _planted(config.getoption("--bench-plant")),
        build,
    )


def _bytes(text: str) -> int | None:
    if text == "auto":
        return None
    found = re.fullmatch(r"(\d+)\s*([KMGT]?)(i?B)?", text, re.IGNORECASE)
    if not found or int(found[1]) == 0:
        raise pytest.UsageError(
            f'--bench-memory: {text!r} must be auto or a size such as "8G" or "500M"'
        )
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[found[2].upper()]


def _seconds(text: str) -> float | None:
    if text == "auto":
        return None
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise pytest.UsageError(
            f"--bench-limit: {text!r} must be auto or a whole number of seconds, e.g. 600"
        )
    return float(text)


def _planted(asked: list[str]) -> dict[str, float]:
    planted = {}
    for given in asked:
        found = re.fullmatch(r"([\w-]+)=(\d*\.?\d+)(%?)", given)
        if not found:
            raise pytest.UsageError(
                f"--bench-plant: {given!r} must be like mlp-b256-cpu-eager-fp32=5%"
            )
        share = float(found[2]) / (100 if found[3] else 1)
        if share >= 1 and not found[3]:
            raise pytest.UsageError(
                f"--bench-plant: {given!r} is {share * 100:g}%; write {given}% for {share:g}%"
            )
        if not share or found[1] in planted:
            raise pytest.UsageError(
                f"--bench-plant: {given!r}: a cell can be made slower once, by more than nothing"
            )
        planted[found[1]] = share
    return planted


def _backends(config: pytest.Config) -> dict[str, backends.Backend]:
    table = dict(backends.BACKENDS)
    for added in config.hook.pytest_paritygate_backends(config=config):
        if not isinstance(added, Mapping):
            raise pytest.UsageError(
                f"pytest_paritygate_backends: must return a dict, name -> module; it gave {added!r}"
            )
        for name, given in added.items():
            if not isinstance(name, str) or not FIELD.fullmatch(name):
                raise pytest.UsageError(
                    f"pytest_paritygate_backends: the name {name!r} must be of small letters, digits and _, as in an id"
                )
            if name in table:
                raise pytest.UsageError(
                    f"pytest_paritygate_backends: there is a backend {name!r} already"
                )
            row = backends.Backend(name, given) if isinstance(given, str) else given
            if not isinstance(row, backends.Backend) or row.name != name:
                raise pytest.UsageError(
                    f"pytest_paritygate_backends: {name!r} must be the name of a module, or a "
                    f"paritygate.backends.Backend of that name; it is {given!r}"
                )
            _import(row)
            table[name] = row
    return table


def _import(backend: backends.Backend) -> None:
    """Import a user's backend now, so that a bad one ends the session before anything is measured."""
    where = (
        f"pytest_paritygate_backends: the module {backend.module!r} of the backend {backend.name!r}"
    )
    try:
        module = importlib.import_module(backend.module)
    except Exception as error:  # its code can raise anything
        raise pytest.UsageError(
            f"{where} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    asked = ["available", "preload", "prepare", *(["artefact"] if backend.artefact else [])]
    if lacking := [name for name in asked if not callable(getattr(module, name, None))]:
        raise pytest.UsageError(
            f"{where} has no {', '.join(lacking)}; see bench/paritygate/backends/__init__.py"
        )
