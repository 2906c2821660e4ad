"""The harness's options and their ini twins, declared once. Keep it light: every pytest of the
environment imports it.
"""

from __future__ import annotations

import pytest

# (option, ini twin, default, what it does)
OPTIONS = (
    (
        "--bench-targets",
        "bench_targets",
        "present",
        'what to run, e.g. "cpu", "compile,eager", "cpu-*-fp32"; '
        "default: every device present, the default backends, fp32",
    ),
    ("--bench-budget", "bench_budget", "quick", "how much time to spend: quick, normal or long"),
    (
        "--bench-lab",
        "bench_lab",
        "on",
        "on: measure in laboratory conditions; off: in the environment as it is",
    ),
    ("--bench-seed", "bench_seed", "0", "seed of weights and inputs, a whole number"),
    (
        "--bench-profile",
        "bench_profile",
        "normal",
        "what slowdown the gate tolerates and what it must catch: normal "
        "(1 %% and 3 %%), strict (0.5 %% and 2 %%) or noisy (2 %% and 5 %%)",
    ),
    (
        "--bench-limit",
        "bench_limit",
        "auto",
        "seconds after which the gate begins no further launch, and undecided "
        "cells stay inconclusive; auto: 20 minutes in the budget quick, 60 in normal, 240 in long",
    ),
    (
        "--bench-mutation",
        "bench_mutation",
        "auto",
        "measure which of a model's weights the check would notice if they "
        "were wrong: on, off; auto: in the budgets normal and long",
    ),
    (
        "--bench-memory",
        "bench_memory",
        "auto",
        "bytes a worker may allocate, e.g. 8G; auto: 90 %% of what is free",
    ),
)


DEFAULTS: dict[str, object] = {ini: default for _, ini, default, _ in OPTIONS}
DEFAULTS |= {
    "bench_strict": False,
    "bench_source": ["models"],
    "bench_removed": [],
    "bench_build": "",
}


def add(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    group = parser.getgroup("paritygate", "paritygate: same answers, no slower")
    for option, ini, default, text in OPTIONS:
        group.addoption(option, metavar="VALUE", default=None, help=f"{text} (ini: {ini})")
        parser.addini(ini, text.replace("%%", "%"), default=default)
    group.addoption(
        "--bench-strict",
        action="store_true",
        default=None,
        help="unchecked cells end with status 15, and a fixed known failure fails the session (ini: bench_strict)",
    )
    parser.addini(
        "bench_strict", "see --bench-strict", type="bool", default=DEFAULTS["bench_strict"]
    )
    group.addoption(  # no ini twin: it would gate every run
        "--bench-against",
        metavar="REV",
        default=None,
        help="the gate: compare head with this revision (branch, tag, commit), launch pair by launch pair",
    )
    group.addoption(
        "--bench-against-python",
        metavar="PATH",
        default=None,
        help="the gate: compare with the same code under this interpreter and its packages",
    )
    group.addoption(
        "--bench-all",
        action="store_true",
        default=None,
        help="with --bench-against: measure every cell, also where code and data are identical on both sides",
    )
    group.addoption(
        "--bench-plant",
        metavar="ID=SHARE",
        action="append",
        default=[],
        help="with --bench-against: make head's cell slower on purpose, e.g. ID=5%%, to see that the gate finds it",
    )
    parser.addini(
        "bench_source",
        "the code under test, paths relative to the rootdir (default: models)",
        type="linelist",
        default=DEFAULTS["bench_source"],
    )
    parser.addini(
        "bench_build",
        "the gate builds C++ and CUDA extensions of each side by this command, e.g. "
        "`pip wheel --no-deps --no-build-isolation -w {out} .` or `python setup.py build_ext --inplace`",
        default=DEFAULTS["bench_build"],
    )
    parser.addini(
        "bench_removed",
        "cells that head has given up on purpose, `ID: reason`, one a line",
        type="linelist",
        default=DEFAULTS["bench_removed"],
    )


def given(config: pytest.Config) -> bool:
    """Return whether any option or ini value of ours, or of the reports, was given."""
    options = (value for name, value in vars(config.option).items() if name.startswith("bench_"))
    return any(value not in (None, False, []) for value in options) or any(
        _ini(config, name) != default for name, default in DEFAULTS.items()
    )


def _ini(config: pytest.Config, name: str) -> object:
    try:
        return config.getini(name)
    except (
        TypeError,
        ValueError,
    ) as error:
        # a value of the wrong type: it counts as given, and is refused later
        return error


def gates(config: pytest.Config) -> bool:
    """Return whether this session compares with another revision or interpreter."""
    return (
        config.getoption("--bench-against") is not None
        or config.getoption("--bench-against-python") is not None
    )


def value(config: pytest.Config, name: str) -> str:
    """Return an option's value from the command line, or else from the ini file."""
    given = config.getoption(f"--{name.replace('_', '-')}")
    return str(config.getini(name) if given is None else given).strip()


def strict(config: pytest.Config) -> bool:
    """Return whether ``--bench-strict`` is on."""
    return bool(config.getoption("--bench-strict") or config.getini("bench_strict"))


def timing(config: pytest.Config) -> bool:
    """Return whether measuring is on, according to pytest-benchmark's options."""
    return not (
        config.getoption("benchmark_disable", False) or config.getoption("benchmark_skip", False)
    )
