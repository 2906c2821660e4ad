"""doctor: check whether this machine is fit to be measured on. For each check: what was found, and
what to do.

``examine`` and ``examine_gpu`` are pure: facts in, findings out. ``run`` gathers the facts. It
times six cells on each device in fresh processes, in laboratory conditions and in the default
environment.
"""

from __future__ import annotations

import os
import shutil
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from paritygate.core.case import Cell
from paritygate.core.devices import DEVICE_KINDS
from paritygate.doctor import reference_cells, spread
from paritygate.host import machine, nvml
from paritygate.process.client import ForkServerError, WorkerError
from paritygate.process.protocol import Conditions
from paritygate.session import targets
from paritygate.session.reference import GroupReference

# If fresh processes on a GPU differ by more, few launches cannot show a slowdown of a few percent.
FIT = 0.02
BUSY_LOAD = 0.5  # of all processors
STEAL = 0.01


@dataclass(frozen=True)
class Card:
    """A GPU that CUDA shows. ``reading`` is None if the GPU was lost when it was read."""

    name: str
    uuid: str
    facts: Mapping[str, Any]
    reading: nvml.Reading | None


@dataclass(frozen=True)
class Finding:
    """One line of the report: the subject, the observation, and, unless all is well, what to do."""

    what: str
    found: str
    todo: str = ""

    def __str__(self) -> str:
        mark = "!" if self.todo else " "
        lines = textwrap.wrap(f"{self.what:<22} {self.found}", 98, subsequent_indent=" " * 23)
        if self.todo:
            lines += textwrap.wrap(
                f"-> {self.todo}", 98, initial_indent=" " * 23, subsequent_indent=" " * 26
            )
        return f"{mark} " + "\n  ".join(lines)


def examine(
    facts: Mapping[str, Any],
    process: Conditions | None,
    load: float | None,
    steal: float,
    gpus: Sequence[Card] = (),
    ambiguous: str | None = None,
) -> list[Finding]:
    """Return findings about the machine (``machine.facts()``), its GPUs, and a process in
    laboratory conditions (``process``).
    """
    cores = facts["cores"] or 1
    findings = [
        Finding("processor", f"{facts['cpu']}, {cores} cores, {facts['affinity']} allowed"),
        Finding(
            "threads",
            f"{facts['threads']} (quota {facts['quota'] or 'none'})",
            "the quota is below the allowed processors: one BLAS thread per core would be throttled; we use the quota"
            if facts["quota"] and facts["quota"] < facts["affinity"]
            else "",
        ),
        Finding(
            "load",
            "unknown" if load is None else f"{load:.2f} (one minute, {cores} cores)",
            "stop other programs, or wait" if load is not None and load > BUSY_LOAD * cores else "",
        ),
        Finding(
            "steal",
            f"{steal:.1%} over one second",
            "the hypervisor gives this machine's time to others; measure on another machine"
            if steal > STEAL
            else "",
        ),
        Finding(
            "governor",
            facts["governor"] or "not visible (virtual machine?)",
            "set it to performance: cpupower frequency-set -g performance"
            if facts["governor"] not in (None, "performance")
            else "",
        ),
        Finding(
            "turbo",
            {True: "on", False: "off", None: "not visible"}[facts["turbo"]],
            "clocks depend on temperature and neighbours; switch it off where you may"
            if facts["turbo"]
            else "",
        ),
        Finding(
            "huge pages",
            facts["huge_pages"] or "not visible",
            "set /sys/kernel/mm/transparent_hugepage/enabled to madvise"
            if facts["huge_pages"] == "never"
            else "",
        ),
        Finding(
            "C library",
            facts["libc"] or "not glibc",
            ""
            if facts["libc"].startswith("glibc")
            else "the laboratory's malloc settings need glibc; spread is larger",
        ),
        *(
            Finding(device, reason)
            for device in DEVICE_KINDS
            if (reason := targets.absent(device)) is not None
        ),
        *(finding for number, card in enumerate(gpus) for finding in examine_gpu(number, card)),
        *([Finding("GPU order", *ambiguous.split("; "))] if ambiguous else []),
    ]
    if process is None:
        return findings
    kept, huge, threads = process.kept_by_malloc, process.huge_pages, process.settings["threads"]
    return [
        *findings,
        Finding(
            "asked for",
            ", ".join(
                f"{k}={v}" for k, v in sorted(process.asked.items()) if k != "PYTHONHASHSEED"
            ),
        ),
        Finding(
            "torch threads",
            str(threads),
            ""
            if threads == facts["threads"]
            else f"{facts['threads']} were requested: something overrides the setting",
        ),
        Finding(
            "malloc keeps memory",
            {True: "yes", False: "no", None: "unknown"}[kept],
            "this glibc ignores large thresholds; every call pays page faults, expect a larger spread"
            if kept is False
            else "",
        ),
        Finding(
            "tensors on huge pages",
            "unknown" if huge is None else f"{huge / 2**20:.0f} of 64 MiB",
            "memory is fragmented, or huge pages are off" if huge == 0 else "",
        ),
    ]


def cards() -> list[Card]:
    """Return the GPUs that CUDA shows here, in its order."""
    shown = []
    for gpu in nvml.visible(os.environ):
        try:
            shown.append(Card(gpu.name, gpu.uuid, gpu.facts(), gpu.read()))
        except nvml.GpuLostError:
            shown.append(Card(gpu.name, gpu.uuid, {}, None))
    return shown


def examine_gpu(number: int, card: Card) -> list[Finding]:
    """Return findings about one GPU, before any of our processes is on it. Settings of the GPU are
    never changed.
    """
    gpu, facts, now = f"GPU {number}", card.facts, card.reading
    if now is None:
        return [
            Finding(
                gpu,
                f"{card.name}, {card.uuid}",
                "it is lost: look for Xid in the kernel's log, and reset it",
            )
        ]
    best, set_to, usual = (
        facts["max_sm_mhz"],
        facts["application_mhz"],
        facts["default_application_mhz"],
    )
    lowered = None not in (best, set_to) and set_to < best and set_to != usual
    return [
        Finding(
            gpu, f"{card.name}, {card.uuid}, driver {facts['driver']} (CUDA {facts['cuda_driver']})"
        ),
        Finding(
            f"{gpu} persistence",
            {True: "on", False: "off", None: "not reported"}[facts["persistence"]],
            "without it the first process of each run waits for the driver to start: nvidia-smi -pm 1"
            if facts["persistence"] is False
            else "",
        ),
        Finding(
            f"{gpu} clock",
            f"{_told(now.sm_mhz, 'MHz')} now, {_told(best, 'MHz')} at most, {_told(set_to, 'MHz')} for applications",
            "it is set below its maximum: nvidia-smi -rac resets it" if lowered else "",
        ),
        Finding(
            f"{gpu} throttling",
            "not reported" if now.throttled is None else ", ".join(now.throttled) or "none now",
            "its clock is held down: wait until it is cool, see nvidia-smi -q -d PERFORMANCE"
            if now.throttled
            else "",
        ),
        Finding(
            f"{gpu} heat",
            f"{_told(now.celsius, '°C')}, {_told(now.watts, 'W')} of {_told(facts['power_limit_watts'], 'W')}",
        ),
        Finding(
            f"{gpu} others",
            f"processes {', '.join(map(str, now.processes))}"
            if now.processes
            else "no process computes on it",
            "stop them: they take time, memory and power" if now.processes else "",
        ),
        Finding(
            f"{gpu} compute mode",
            facts["compute_mode"] or "not reported",
            "several processes must share the GPU, one for each backend: nvidia-smi -c DEFAULT"
            if facts["compute_mode"] in ("exclusive thread", "exclusive process", "prohibited")
            else "",
        ),
        *(
            [
                Finding(
                    f"{gpu} MIG",
                    "an instance; neighbours share clock and power, so energy is not reported",
                )
            ]
            if facts["mig"]
            else []
        ),
    ]


def _told(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.0f} {unit}"


def judge(spreads: Sequence[spread.Spread]) -> list[Finding]:
    """Return a finding for each cell: whether it keeps the rule of the laboratory on this
    machine.
    """
    return [
        Finding(
            f"{s.cell}",
            f"{s.median['laboratory'] * 1e3:.3g} ms, processes differ by {s.deviation['laboratory']:.1%} "
            f"(default environment: {s.median['default'] * 1e3:.3g} ms, {s.deviation['default']:.1%})",
            "; ".join(s.breaks())
            and "the laboratory does not help here: "
            + "; ".join(s.breaks())
            + f" ({s.launches} launches; run again with --launches 10 before you believe it)",
        )
        for s in spreads
    ]


def judge_gpu(spreads: Sequence[spread.Spread]) -> list[Finding]:
    """Return a finding for each cell: how much fresh processes differ on a GPU. The laboratory has
    no effect there.
    """
    return [
        Finding(
            s.cell,
            f"{s.median['laboratory'] * 1e3:.3g} ms, processes differ by {s.deviation['laboratory']:.1%}",
            f"over {FIT:.0%}: the gate needs many launches here; see what else uses the card, its heat and its clock"
            if s.deviation["laboratory"] > FIT
            else "",
        )
        for s in spreads
    ]


def run(
    launches: int, home: Path, say: Callable[[str], object], tell: Callable[[str], object]
) -> int:
    """Examine this machine and report. Return 0, or 1 if there is something to do.

    ``say`` is called with progress, ``tell`` with each line of the report.
    """
    before, started = machine.processor_times(), time.monotonic()
    say("starting a process in laboratory conditions")
    six = spread.cells_of(reference_cells.SIX, reference_cells.SIX_BACKENDS)
    got: Conditions | None = None
    failed = ""
    lab = spread.new_laboratory(home, "laboratory", controlled=True, cells=six)
    try:
        got = GroupReference(lab, six[0]).conditions()
    except (ForkServerError, WorkerError) as error:
        failed = str(error)
    finally:
        lab.close()
        shutil.rmtree(lab.scratch, ignore_errors=True)
    time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))
    stolen = machine.steal(before, machine.processor_times())
    findings = examine(
        machine.facts(), got, machine.load(), stolen, cards(), nvml.ambiguous(os.environ)
    )
    if failed:
        findings.append(Finding("fork server", "does not start", failed))
    for finding in findings:
        tell(str(finding))
    judged: list[Finding] = []
    if find_spec("models") is None or find_spec("models.cnn") is None:
        tell(
            "\nNo cell is timed: the six cells need paritygate's own models; run the doctor in its checkout."
        )
    elif launches and not failed:
        judged = _time("CPU", judge, six, launches, home, say, tell)
        if targets.absent("cuda") is None:
            cells = spread.cells_of(reference_cells.SIX, reference_cells.SIX_CUDA_BACKENDS, "cuda")
            judged += _time("GPU", judge_gpu, cells, launches, home, say, tell)
    todo = [finding for finding in [*findings, *judged] if finding.todo]
    tell(
        f"\n{len(todo)} of {len(findings) + len(judged)} findings with something to do"
        if todo
        else "\nNothing to do: this machine is fit to be measured on."
    )
    return 1 if todo else 0


def _time(
    device: str,
    judged_by: Callable[[Sequence[spread.Spread]], list[Finding]],
    cells: Sequence[Cell],
    launches: int,
    home: Path,
    say: Callable[[str], object],
    tell: Callable[[str], object],
) -> list[Finding]:
    """Time cells of one device in fresh processes, report them, and return the findings. A cell
    that fails is a finding, too.
    """
    try:
        rows = list(spread.launches(cells, launches, home, seconds=0.3, say=say))
        judged = judged_by(spread.summarise(rows))
        tell(f"\n{len(cells)} cells on the {device}, {2 * launches} fresh processes each way:")
    except (RuntimeError, ForkServerError) as error:
        judged = [Finding(f"cells on the {device}", "cannot be timed", str(error))]
    for finding in judged:
        tell(str(finding))
    return judged
