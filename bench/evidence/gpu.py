"""Make ``reports/evidence/gpu/``: check the claims about GPUs on the GPU of this machine. ``make
gpu-check`` runs it.

    python -m bench.evidence.gpu                # parts without a result for this code and GPU, one after the other
    python -m bench.evidence.gpu same roofs     # these parts, again
    python -m bench.evidence.gpu --list         # all parts, with the most time that each takes

Needs no network: it runs with the installed torch, and names the checks that it leaves out because
a package is missing. Every part ends within its seconds and leaves one JSON file, so it can be run
part by part. Parts that found a problem are run again, after those that were not run yet. Exit
status 1 if a part found a problem, 2 if nothing could be run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evidence import command_line
from paritygate.backends.onnxruntime.providers import CUDA
from paritygate.core.record import RED, Record, Status, Verdict
from paritygate.host import machine, nvml
from paritygate.session import targets
from paritygate.timing import roofline

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("reports/evidence/gpu")
GRACE = 10.0  # seconds in which an interrupted pytest ends its workers and writes what it has
CELLS = ("cnn_digits-b32", "bert_mini-b8_s64", "attn_sdpa-b4_h8_s128_d64")
TRAINED = "train_cnn_digits_sgd"
FEW = (
    "--bench-targets",
    "cuda-eager-fp32",
    "-k",
    " or ".join(CELLS),
)  # few: each is launched often
RUNS = 5  # runs of the same cells
AROUND = 20.0  # seconds before a gate's first launch and after its last
CLOCKED = 25.0  # seconds that do_bench gets for three operators
SIZES = (0.02, 0.03, 0.05)
OPERATORS = tuple(
    f"attn_cuda_{kernel}_causal-b8_h16_s1024_d128-cuda-eager-bf16"
    for kernel in ("math", "flash", "efficient")
)
# Few kernels, since each answer has 17 million numbers; compiled only the kernel that is made for it.
ROOFS = "(roofline or (attn_cuda and causal and not backward)) and (eager or flex)"
SAME_CLOCK = 0.03  # our event times and do_bench's may differ by so much
# packages that a run needs; and module -> the checks that are left out without it
NEEDED = ("torch", "pytest", "pytest_benchmark", "pandas", "sqlalchemy", "scipy", "numpy", "pynvml")
WISHED = {
    "onnxruntime": "every onnxruntime cell (carry the wheel of onnxruntime-gpu)",
    "transformers": "BERT",
    "sklearn": "the trained CNN and real digits",
    "triton": "torch.compile on the GPU, and the second clock of operators",
    "plotly": "the HTML report",
}


Ran = tuple[list[Record], list[str]]  # the records of a run, and what is wrong


@dataclass(frozen=True)
class Part:
    """One check. ``run`` returns the content of its file; ``problems`` in it lists what is
    wrong.
    """

    name: str
    what: str
    seconds: int  # at most
    run: Callable[[float], dict[str, Any]]


def main(given: Sequence[str] | None = None) -> int:
    """Read the command line and run."""
    parser = command_line.parser()
    arguments(parser)
    return run(parser.parse_args(given))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "part", nargs="*", choices=[[], *PARTS], help="default: those without a result yet"
    )
    parser.add_argument(
        "--list", action="store_true", help="list the parts, with the most seconds that each takes"
    )
    parser.add_argument("--out", type=Path, default=FOLDER)


def run(parsed: argparse.Namespace) -> int:
    """Run parts, write a file for each, print the results and return the exit status."""
    if parsed.list:
        for part in PARTS.values():
            print(f"{part.name:<10} {part.seconds:>4} s  {part.what}")
        return 0
    for line in left_out():
        print(line, flush=True)
    if (reason := unable()) is not None:
        print(f"gpu-check: {reason}")
        return 2
    here = conditions()
    chosen, wrong = parsed.part or due(parsed.out, here), 0
    if not chosen:
        print(
            f"every part has a result for this code on this GPU, see {parsed.out}; name parts to run them again"
        )
    for name in chosen:
        print(f"{name}: {PARTS[name].what}, {PARTS[name].seconds} s at most", flush=True)
        result = here | {"command": f"python -m bench.evidence.gpu {name}"}
        try:
            result |= PARTS[name].run(PARTS[name].seconds)
        except (Exception, SystemExit) as error:  # the other parts still run
            result |= {"told": [], "problems": [f"{type(error).__name__}: {error}"]}
        write(parsed.out / f"{name}.json", result)
        wrong += bool(result["problems"])
        print(
            "\n".join(
                f"  {line}"
                for line in [*result["told"], *(f"WRONG: {line}" for line in result["problems"])]
            )
        )
    print(f"{len(chosen)} parts run, {wrong} with problems; files in {parsed.out}")
    return int(wrong > 0)


def due(folder: Path, here: Mapping[str, Any]) -> list[str]:
    """Return the parts without a result for this code, GPU and driver, then those that found a
    problem.
    """
    kept = {
        name: json.loads(path.read_text())
        for name in PARTS
        if (path := folder / f"{name}.json").exists()
    }
    stale = [name for name in PARTS if name not in kept or _of_what(kept[name]) != _of_what(here)]
    return stale + [name for name in kept if name not in stale and kept[name]["problems"]]


def _of_what(result: Mapping[str, Any]) -> list[Any]:
    gpu = result.get("gpu") or {}
    return [result.get("code"), gpu.get("uuid"), gpu.get("driver")]


def unable() -> str | None:
    """Return why nothing can be checked here, or None."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        return f"these packages are needed and not installed: {', '.join(missing)}"
    return None if (reason := targets.absent("cuda")) is None else f"cuda: {reason}"


def left_out() -> list[str]:
    """Return one line for each check that is left out because a package is missing."""
    return [
        f"without {name}: {what} is left out"
        for name, what in WISHED.items()
        if find_spec(name) is None
    ]


def conditions() -> dict[str, Any]:
    """Return the facts of the machine and its GPU, and a digest of the code."""
    import os

    cards = nvml.visible(os.environ)
    return {"machine": machine.facts(), "gpu": cards[0].facts() if cards else None, "code": code()}


def code() -> str:
    """Return a digest of the code that is checked."""
    files = [
        path for folder in ("bench", "models") for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Write a part's results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, default=str) + "\n")


def run_pytest(arguments: Sequence[str], seconds: float) -> Ran:
    """Run pytest, and return its records and their problems. At the time limit it is interrupted,
    and the records so far count.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "run.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "bench",
            "-q",
            "--benchmark-quiet",
            *arguments,
            "--bench-store",
            f"{folder}/store.sqlite",
            "--bench-report",
            str(report),
        ]
        problems = []
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_hear_interrupts,
        ) as process:
            try:
                output, _ = process.communicate(timeout=max(1.0, seconds - GRACE))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                try:
                    output, _ = process.communicate(timeout=GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    output, _ = process.communicate()
                problems.append(
                    f"the time was up after {seconds:.0f} s; once more, with warm caches, it gets further"
                )
        if not report.exists():
            raise SystemExit(f"pytest left no report:\n{output[-3000:]}")
        records = [Record.from_dict(row) for row in json.loads(report.read_text())["records"]]
        return records, problems + failures(records)


def _hear_interrupts() -> None:
    """Enable interrupts in the child: processes started in the background ignore them, and so do
    their children.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def failures(records: Sequence[Record]) -> list[str]:
    """Return the cells that ended badly, with their reasons."""
    bad = [
        record
        for record in records
        if record.status not in (Status.OK, Status.SKIPPED, Status.UNCHECKED)
    ]
    return [
        f"{record.cell}: {record.status}, {record.reason}"
        for record in bad
        if not record.known_failure
    ]


# -- the parts


def matrix(seconds: float) -> dict[str, Any]:
    """Run the quick matrix, to check that every cell runs and its answers are right."""
    chosen = (
        "cuda,cuda-eager-bf16,cuda-eager-fp16,cuda-eager-tf32,cuda-compile_reduce_overhead-fp32"
    )
    # these also run in other dtypes and with CUDA graphs; and one training
    few = " or ".join(CELLS)
    usual = "fp32 and not reduce_overhead and not train_"
    select = f"not attn_cuda and not roofline and (({usual}) or {few} or ({TRAINED} and fp32))"
    return matrix_of(*run_pytest(["--bench-targets", chosen, "-k", select], seconds))


def matrix_of(records: Sequence[Record], problems: Sequence[str]) -> dict[str, Any]:
    """Return the parity table and the problems."""
    rows = [
        {
            "cell": record.cell,
            "status": str(record.status),
            "reason": record.reason,
            "error": record.error,
            "share": record.error_share,
            "p50": record.latency_p50,
            "speedup": record.speedup,
            "peak_bytes": record.peak_bytes,
            "device_seconds": record.facts.get("device_seconds"),
            "warnings": record.warnings,
        }
        for record in records
    ]
    count = {status: sum(record.status is status for record in records) for status in Status}
    shares = [
        record.error_share
        for record in records
        if record.status is Status.OK and record.error_share is not None
    ]
    lines = [", ".join(f"{number} {status}" for status, number in count.items() if number)]
    lines += [f"closest to its limit: {max(shares):.0%}"] if shares else []
    lines += [
        f"{record.cell}: unchecked, {record.reason}"
        for record in records
        if record.status is Status.UNCHECKED
    ]
    reasons = Counter(record.reason for record in records if record.status is Status.SKIPPED)
    lines += [f"{number} skipped: {reason}" for reason, number in reasons.items()]
    none = [] if count[Status.OK] else ["no cell was measured"]
    return {"told": lines, "problems": [*problems, *none], "cells": rows}


def steady(seconds: float) -> dict[str, Any]:
    """Run the same cells five times, or as often as there is time, to see how much their medians
    differ.
    """
    began, runs = time.monotonic(), []
    for number in range(RUNS):
        left = seconds - (time.monotonic() - began)
        if number and left < (seconds - left) / number:
            break
        runs.append(run_pytest(FEW, left))
    return steady_of(runs)


def steady_of(runs: Sequence[Ran]) -> dict[str, Any]:
    """Return the coefficient of variation of p50 over runs, by cell."""
    times: dict[str, list[float]] = {}
    for record in (record for records, _ in runs for record in records):
        if record.measured and record.latency_p50 is not None:
            times.setdefault(record.cell, []).append(record.latency_p50)
    spread = {
        cell: statistics.stdev(values) / statistics.fmean(values)
        for cell, values in times.items()
        if len(values) > 1
    }
    rows = [
        f"{cell}: {share:.2%} over {len(times[cell])} runs"
        for cell, share in sorted(spread.items())
    ]
    problems = list(dict.fromkeys(line for _, lines in runs for line in lines))
    problems += [] if len(runs) == RUNS else [f"there was time for {len(runs)} runs, not {RUNS}"]
    return {
        "told": rows,
        "problems": problems + ([] if spread else ["no cell was measured twice"]),
        "coefficient_of_variation": spread,
        "p50": times,
    }


def same(seconds: float) -> dict[str, Any]:
    """Run the gate with the same code on both sides."""
    return gate_of(*_gate(seconds, {}), {})


def planted(seconds: float) -> dict[str, Any]:
    """Run the gate with slowdowns of 2, 3 and 5 % planted in three cells of one run."""
    cells = [f"{name}-cuda-eager-fp32" for name in CELLS]
    sizes = dict(zip(random.Random(1).sample(cells, len(SIZES)), SIZES, strict=True))
    return gate_of(*_gate(seconds, sizes), sizes)


def _gate(seconds: float, sizes: Mapping[str, float]) -> Ran:
    plants = [
        part
        for cell, size in sizes.items()
        for part in ("--bench-plant", f"{cell}={100 * size:g}%")
    ]
    # the gate must end by itself, or it has no verdict
    limit = max(1, round(seconds - GRACE - AROUND))
    gate = ["--bench-against", "HEAD", "--bench-profile", "strict", "--bench-limit", str(limit)]
    return run_pytest([*FEW, *gate, *plants], seconds)


def gate_of(
    records: Sequence[Record], wrong: Sequence[str], sizes: Mapping[str, float]
) -> dict[str, Any]:
    """Return the verdicts and the problems: only planted cells may be red, and every planted cell
    should be.
    """
    judged = [record for record in records if record.verdict and record.effect is not None]
    rows = [
        {
            "cell": record.cell,
            "planted": sizes.get(record.cell, 0.0),
            "verdict": record.verdict,
            "effect": record.effect,
            "low": record.effect_low,
            "high": record.effect_high,
            "sd": record.effect_sd,
            "detectable": record.detectable,
            "launches": record.launches,
            "findings": record.findings,
        }
        for record in judged
    ]
    problems = [*wrong]
    problems += [
        f"{r.cell}: {r.verdict} without a plant"
        for r in judged
        if r.verdict in RED and r.cell not in sizes
    ]
    problems += [
        f"{r.cell}: {r.verdict} with {sizes[r.cell]:.0%} planted"
        for r in judged
        if r.cell in sizes and r.verdict not in RED
    ]
    problems += [
        f"{r.cell}: inconclusive without a plant"
        for r in judged
        if r.verdict == Verdict.INCONCLUSIVE and r.cell not in sizes
    ]
    problems += [
        f"{r.cell}: {r.verdict}, {r.verdict_reason}"
        for r in records
        if r.verdict and r.effect is None
    ]
    named = {record.cell for record in records if record.verdict}
    problems += [
        f"{cell}: no verdict with {size:.0%} planted"
        for cell, size in sizes.items()
        if cell not in named
    ]
    problems += [] if judged else ["no cell was compared"]
    lines = [
        f"{r.cell}: {r.verdict}, {r.effect:+.2%} ({sizes.get(r.cell, 0.0):.0%} planted)"
        for r in judged
    ]
    return {"told": lines, "problems": problems, "verdicts": rows}


def operators(seconds: float) -> dict[str, Any]:
    """Time three operators by our clock and by triton's ``do_bench``."""
    if find_spec("triton") is None:
        return {"told": ["left out: triton is not installed"], "problems": []}
    select = " or ".join(cell.partition("-")[0] + "-b8_h16_s1024_d128" for cell in OPERATORS)
    records, problems = run_pytest(
        ["--bench-targets", "cuda-eager-bf16", "-k", select], seconds - CLOCKED
    )
    command = [sys.executable, "-m", "bench.evidence.dobench", *OPERATORS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=CLOCKED)
    except subprocess.TimeoutExpired:
        return operators_of(
            records, [*problems, f"do_bench had not ended after {CLOCKED:.0f} s"], {}
        )
    if done.returncode:
        return operators_of(records, [*problems, f"do_bench failed: {done.stderr[-1000:]}"], {})
    return operators_of(records, problems, json.loads(done.stdout.splitlines()[-1]))


def operators_of(
    records: Sequence[Record], wrong: Sequence[str], theirs: Mapping[str, float]
) -> dict[str, Any]:
    """Return our medians over those of do_bench, and the problems."""
    ours = {record.cell: record.latency_p50 for record in records if record.latency_p50 is not None}
    ratios = {cell: ours[cell] / theirs[cell] for cell in theirs if cell in ours}
    lines = [
        f"{cell}: {ours[cell] * 1e6:.1f} µs, do_bench {theirs[cell] * 1e6:.1f} µs"
        for cell in ratios
    ]
    problems = [*wrong]
    problems += [
        f"{cell}: {ratio - 1:+.1%} off do_bench"
        for cell, ratio in ratios.items()
        if abs(ratio - 1) > SAME_CLOCK
    ]
    problems += [f"{cell}: not timed" for cell in theirs if cell not in ours]
    return {
        "told": lines,
        "problems": problems,
        "ratio": ratios,
        "ours": ours,
        "do_bench": dict(theirs),
    }


def roofs(seconds: float) -> dict[str, Any]:
    """Compare attention's kernels with a matrix product and a copy of the same run."""
    select = ["--bench-targets", "cuda-eager-bf16,cuda-compile-bf16", "-k", ROOFS]
    return roofs_of(*run_pytest(select, seconds))


def roofs_of(records: Sequence[Record], problems: Sequence[str]) -> dict[str, Any]:
    """Return the speed of each kernel, and the best one."""
    attainable, every = roofline.roofs(records), roofline.achieved(records)
    kernels = [
        one for one in every if one.share is not None and not one.cell.startswith("roofline")
    ]
    lines = [
        f"a matrix product attains {rate / 1e12:.0f} TFLOP/s in {dtype}"
        for (_, dtype), rate in attainable.flops.items()
    ]
    lines += [f"a copy attains {rate / 1e9:.0f} GB/s" for rate in attainable.bytes.values()]
    if kernels:
        best = max(kernels, key=lambda one: one.share or 0.0)
        lines.append(f"best: {best.cell}, {best.share:.0%} of the roof, limited by {best.limit}")
    rows = [
        {
            "cell": one.cell,
            "flops": one.flops,
            "bytes": one.bytes,
            "share": one.share,
            "limit": one.limit,
        }
        for one in every
    ]
    none = [] if kernels else ["no kernel has a share of the roof"]
    return {"told": lines, "problems": [*problems, *none], "achieved": rows}


def providers(seconds: float) -> dict[str, Any]:
    """Run each kind of ONNX Runtime backend, to check that the GPU really ran it."""
    chosen = "cuda-onnxruntime*-fp32,cuda-tensorrt-fp32,cuda-onnxruntime-fp16,cuda-eager-fp32"
    return providers_of(
        *run_pytest(
            ["--bench-targets", chosen, "-k", "cnn_digits-b32 or bert_mini-b8_s64"], seconds
        )
    )


def providers_of(records: Sequence[Record], problems: Sequence[str]) -> dict[str, Any]:
    """Return providers and node placement of every cell that ran, and the reasons of skipped
    ones.
    """
    ours = [record for record in records if record.backend != "eager"]
    rows = [
        {
            "cell": record.cell,
            "status": str(record.status),
            "reason": record.reason,
            "p50": record.latency_p50,
            **{name: record.facts.get(name) for name in ("providers", "nodes_by_provider")},
        }
        for record in ours
    ]
    lines = [f"{row['cell']}: {row['nodes_by_provider'] or row['reason']}" for row in rows]
    placed = [
        record.facts.get("nodes_by_provider", {}) for record in ours if record.status is Status.OK
    ]
    proven = any(nodes.get(CUDA) for nodes in placed)
    none = [] if proven or not find_spec("onnxruntime") else ["ONNX Runtime ran nothing on the GPU"]
    return {"told": lines, "problems": [*problems, *none], "cells": rows}


PARTS = {
    part.name: part
    for part in (
        Part("matrix", "every cell of the quick matrix, its answers against float64", 190, matrix),
        Part("steady", "p50 of three cells over five runs", 130, steady),
        Part("same", "the gate with the same code on both sides", 95, same),
        Part("planted", "the gate with 2, 3 and 5 % planted", 250, planted),
        Part("operators", "three attention kernels against triton.testing.do_bench", 90, operators),
        Part("roofs", "attention's kernels against the measured roofline", 90, roofs),
        Part("providers", "ONNX Runtime's providers and node placement", 55, providers),
    )
}

if __name__ == "__main__":
    sys.exit(main())
