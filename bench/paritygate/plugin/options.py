"""The harness's options: declared once with their ini twins, read once, refused with what would be right."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from paritygate import backends
from paritygate.core.budgets import BUDGETS, Budget
from paritygate.core.case import FIELD, Target
from paritygate.gate.request import PROFILES, Against
from paritygate.session import targets

# (option, ini twin, default, what it does)
OPTIONS = (
    ("--bench-targets", "bench_targets", "present", 'what to run, e.g. "cpu", "compile,eager", "cpu-*-fp32"; '
     "default: every device present, the default backends, fp32"),
    ("--bench-budget", "bench_budget", "quick", "how much time to spend: quick, normal or long"),
    ("--bench-lab", "bench_lab", "on", "on: measure in laboratory conditions; off: in the environment as it is"),
    ("--bench-seed", "bench_seed", "0", "seed of weights and inputs, a whole number"),
    ("--bench-profile", "bench_profile", "normal", "what slowdown the gate tolerates and what it must catch: normal "
     "(1 %% and 3 %%), strict (0.5 %% and 2 %%) or noisy (2 %% and 5 %%)"),
    ("--bench-limit", "bench_limit", "auto", "seconds after which the gate begins no further launch, and what is "
     "undecided stays inconclusive; auto: 20 minutes in the budget quick, 60 in normal, 240 in long"),
    ("--bench-mutation", "bench_mutation", "auto", "measure which of a model's weights the check would notice if they "
     "were wrong: on, off; auto: in the budgets normal and long"),
    ("--bench-memory", "bench_memory", "auto", "bytes a worker may allocate, e.g. 8G; auto: 90 %% of what is free"),
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What the options of a session say, checked."""

    targets: list[Target]
    budget: Budget
    controlled: bool  # --bench-lab on
    seed: int
    memory: int | None  # bytes a worker may allocate; None: 90 % of what is free
    backends: dict[str, backends.Backend]
    mutate: bool  # measure which weights the check would notice


def add(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    group = parser.getgroup("paritygate", "paritygate: same answers, no slower")
    for option, ini, default, text in OPTIONS:
        group.addoption(option, metavar="VALUE", default=None, help=f"{text} (ini: {ini})")
        parser.addini(ini, text.replace("%%", "%"), default=default)
    group.addoption(
        "--bench-strict", action="store_true", default=None,
        help="unchecked cells end with status 15, and a known gap that has closed is a failure (ini: bench_strict)",
    )  # fmt: skip
    parser.addini("bench_strict", "see --bench-strict", type="bool", default=False)
    group.addoption(  # no ini twin: it would gate every run
        "--bench-against", metavar="REV", default=None,
        help="the gate: compare head with this revision (branch, tag, commit), launch pair by launch pair",
    )  # fmt: skip
    group.addoption(
        "--bench-against-python", metavar="PATH", default=None,
        help="the gate: compare with the same code under this interpreter and its packages",
    )  # fmt: skip
    group.addoption(
        "--bench-plant", metavar="ID=SHARE", action="append", default=[],
        help="with --bench-against: make head's cell slower on purpose, e.g. ID=5%%, to see that the gate finds it",
    )  # fmt: skip
    parser.addini("bench_source", "the code under test, paths relative to the rootdir (default: models)",
                  type="linelist", default=["models"])  # fmt: skip
    parser.addini("bench_removed", "cells that head has given up on purpose, `ID: reason`, one a line",
                  type="linelist", default=[])  # fmt: skip


def read(config: pytest.Config) -> Settings:
    """The options' values. Raises ``pytest.UsageError`` naming the option, the value, and what would be right."""
    budget = BUDGETS.get(value(config, "bench_budget"))
    if budget is None:
        raise pytest.UsageError(
            f"--bench-budget: {value(config, 'bench_budget')!r} must be one of {', '.join(BUDGETS)}"
        )
    lab, seed = value(config, "bench_lab"), value(config, "bench_seed")
    if (profile := value(config, "bench_profile")) not in PROFILES:
        raise pytest.UsageError(f"--bench-profile: {profile!r} must be one of {', '.join(PROFILES)}")
    if lab not in ("on", "off"):
        raise pytest.UsageError(f"--bench-lab: {lab!r} must be on or off")
    if (mutation := value(config, "bench_mutation")) not in ("auto", "on", "off"):
        raise pytest.UsageError(f"--bench-mutation: {mutation!r} must be auto, on or off")
    if not re.fullmatch(r"\d{1,9}", seed):
        raise pytest.UsageError(f"--bench-seed: {seed!r} must be a whole number from 0 to 999999999")
    try:
        strict(config)
    except (TypeError, ValueError) as error:  # of pytest below 9
        raise pytest.UsageError(f"ini bench_strict must be true or false: {error}") from None
    _seconds(value(config, "bench_limit"))
    if _planted(config.getoption("--bench-plant")) and not gates(config):
        raise pytest.UsageError("--bench-plant: needs a gate that could find it; give --bench-against, too, e.g. HEAD")
    table = _backends(config)
    try:
        chosen = targets.select(value(config, "bench_targets"), table)
    except targets.TargetError as error:
        raise pytest.UsageError(str(error)) from None
    mutate = budget.mutates if mutation == "auto" else mutation == "on"
    return Settings(chosen, budget, lab == "on", int(seed), _bytes(value(config, "bench_memory")), table, mutate)


def gates(config: pytest.Config) -> bool:
    """Whether this session compares with something."""
    return config.getoption("--bench-against") is not None or config.getoption("--bench-against-python") is not None


def against(config: pytest.Config) -> Against:
    """What ``--bench-against`` and its like ask for. Raises ``pytest.UsageError``."""
    revision, python = config.getoption("--bench-against"), config.getoption("--bench-against-python")
    if revision is not None and python is not None:
        raise pytest.UsageError("--bench-against and --bench-against-python: give one, else two things differ at once")
    if python is not None and not (Path(python).is_file() and os.access(python, os.X_OK)):
        raise pytest.UsageError(
            f"--bench-against-python: {python!r} is no interpreter; give e.g. /path/to/venv/bin/python"
        )
    if os.name != "posix" or sys.platform == "darwin":
        raise pytest.UsageError("the gate needs Linux: elsewhere a parked process cannot be seen to be stopped")
    removed = {}
    for line in config.getini("bench_removed"):
        cell, colon, reason = line.partition(":")
        if not colon or not reason.strip():
            raise pytest.UsageError(f"ini bench_removed: {line!r} must be `ID: reason`")
        removed[cell.strip()] = reason.strip()
    python = None if python is None else str(Path(python).absolute())
    profile = value(config, "bench_profile")
    return Against(
        revision or "HEAD", python, profile, list(config.getini("bench_source")), removed,
        _seconds(value(config, "bench_limit")), _planted(config.getoption("--bench-plant")),
    )  # fmt: skip


def value(config: pytest.Config, name: str) -> str:
    """An option's value as given on the command line, or else in the ini file."""
    given = config.getoption(f"--{name.replace('_', '-')}")
    return str(config.getini(name) if given is None else given).strip()


def strict(config: pytest.Config) -> bool:
    """Whether ``--bench-strict`` holds."""
    return bool(config.getoption("--bench-strict") or config.getini("bench_strict"))


def timing(config: pytest.Config) -> bool:
    """Whether measuring is on, as far as pytest-benchmark's options say."""
    return not (config.getoption("benchmark_disable", False) or config.getoption("benchmark_skip", False))


def _bytes(text: str) -> int | None:
    if text == "auto":
        return None
    found = re.fullmatch(r"(\d+)\s*([KMGT]?)(i?B)?", text, re.IGNORECASE)
    if not found or int(found[1]) == 0:
        raise pytest.UsageError(f'--bench-memory: {text!r} must be auto or a size such as "8G" or "500M"')
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[found[2].upper()]


def _seconds(text: str) -> float | None:
    if text == "auto":
        return None
    if not re.fullmatch(r"[1-9]\d{0,5}", text):
        raise pytest.UsageError(f"--bench-limit: {text!r} must be auto or a whole number of seconds, e.g. 600")
    return float(text)


def _planted(asked: list[str]) -> dict[str, float]:
    planted = {}
    for given in asked:
        found = re.fullmatch(r"([\w-]+)=(\d*\.?\d+)(%?)", given)
        if not found:
            raise pytest.UsageError(f"--bench-plant: {given!r} must be like mlp-b256-cpu-eager-fp32=5%")
        share = float(found[2]) / (100 if found[3] else 1)
        if share >= 1 and not found[3]:
            raise pytest.UsageError(f"--bench-plant: {given!r} is {share * 100:g}%; write {given}% for {share:g}%")
        if not share or found[1] in planted:
            raise pytest.UsageError(f"--bench-plant: {given!r}: a cell can be made slower once, by more than nothing")
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
                raise pytest.UsageError(f"pytest_paritygate_backends: there is a backend {name!r} already")
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
    """Import a user's backend now: a bad one must end the session before anything is measured."""
    said = f"pytest_paritygate_backends: the module {backend.module!r} of the backend {backend.name!r}"
    try:
        module = importlib.import_module(backend.module)
    except Exception as error:  # whatever its code does
        raise pytest.UsageError(f"{said} cannot be imported: {type(error).__name__}: {error}") from error
    asked = ["available", "preload", "prepare", *(["artefact"] if backend.artefact else [])]
    if lacking := [name for name in asked if not callable(getattr(module, name, None))]:
        raise pytest.UsageError(f"{said} has no {', '.join(lacking)}; see bench/paritygate/backends/__init__.py")
