"""Makes ``reports/evidence/gpu/``: whether all of this holds on the GPU of this machine. ``make
gpu-check`` runs it.

    python -m bench.evidence.gpu                # the parts not shown yet of this code on this GPU, one after the other
    python -m bench.evidence.gpu same roofs     # these parts, anew
    python -m bench.evidence.gpu --list         # what there is, and what each takes at most

Needs no network: it runs with the torch that is installed, and says what it leaves out where a
package is missing. Every part ends within its seconds and leaves one JSON file, so it can be run
part by part; a part that found something wrong is run again, those that were not run yet first.
Exit status 1 where a part found something wrong, 2 where nothing could be run.
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
FEW = ("--bench-targets", "cuda-eager-fp32", "-k", " or ".join(CELLS))  # each is launched often
RUNS = 5  # of the A/A over the matrix
AROUND = 20.0  # seconds before a gate's first launch and after its last
CLOCKED = 25.0  # seconds that do_bench gets for three operators
SIZES = (0.02, 0.03, 0.05)
OPERATORS = tuple(
    f"attn_cuda_{kernel}_causal-b8_h16_s1024_d128-cuda-eager-bf16"
    for kernel in ("math", "flash", "efficient")
)
# Answers of 17 million numbers each: a few kernels, and compiled only the one that is made for it.
ROOFS = "(roofline or (attn_cuda and causal and not backward)) and (eager or flex)"
SAME_CLOCK = 0.03  # our event times and do_bench's may differ by so much
# What a run cannot do without, and what it leaves out without: module -> what for.
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
    """One of the checks. ``run`` gives what goes into its file; ``problems`` there lists what is
    wrong.
    """

    name: str
    what: str
    seconds: int  # at most
    run: Callable[[float], dict[str, Any]]


def main(given: Sequence[str] | None = None) -> int:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments(parser)
    return run(parser.parse_args(given))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the check takes."""
    parser.add_argument(
        "part", nargs="*", choices=[[], *PARTS], help="default: those that are not shown yet"
    )
    parser.add_argument(
        "--list", action="store_true", help="the parts, and the most seconds each takes"
    )
    parser.add_argument("--out", type=Path, default=FOLDER)


def run(parsed: argparse.Namespace) -> int:
    """Run parts, write a file each, tell; the exit status."""
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
            f"every part is shown of this code on this GPU, see {parsed.out}; name parts to run them anew"
        )
    for name in chosen:
        print(f"{name}: {PARTS[name].what}, {PARTS[name].seconds} s at most", flush=True)
        found = here | {"command": f"python -m bench.evidence.gpu {name}"}
        try:
            found |= PARTS[name].run(PARTS[name].seconds)
        except (Exception, SystemExit) as error:  # the other parts still have something to tell
            found |= {"told": [], "problems": [f"{type(error).__name__}: {error}"]}
        write(parsed.out / f"{name}.json", found)
        wrong += bool(found["problems"])
        print(
            "\n".join(
                f"  {line}"
                for line in [*found["told"], *(f"WRONG: {line}" for line in found["problems"])]
            )
        )
    print(f"{len(chosen)} parts run, {wrong} with something wrong; files in {parsed.out}")
    return int(wrong > 0)


def due(folder: Path, here: Mapping[str, Any]) -> list[str]:
    """The parts not shown yet of this code on this GPU with this driver, then those that found
    something wrong.
    """
    kept = {
        name: json.loads(path.read_text())
        for name in PARTS
        if (path := folder / f"{name}.json").exists()
    }
    stale = [name for name in PARTS if name not in kept or _of_what(kept[name]) != _of_what(here)]
    return stale + [name for name in kept if name not in stale and kept[name]["problems"]]


def _of_what(found: Mapping[str, Any]) -> list[Any]:
    gpu = found.get("gpu") or {}
    return [found.get("code"), gpu.get("uuid"), gpu.get("driver")]


def unable() -> str | None:
    """Why nothing can be checked here, or None."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        return f"these packages are needed and not here: {', '.join(missing)}"
    return None if (reason := targets.absent("cuda")) is None else f"cuda: {reason}"


def left_out() -> list[str]:
    """What is left out for want of a package, a line each."""
    return [
        f"without {name}: {what} is left out"
        for name, what in WISHED.items()
        if find_spec(name) is None
    ]


def conditions() -> dict[str, Any]:
    """The machine, its GPU, and the code."""
    import os

    cards = nvml.visible(os.environ)
    return {"machine": machine.facts(), "gpu": cards[0].facts() if cards else None, "code": code()}


def code() -> str:
    """A digest of the code that is shown."""
    files = [
        path for folder in ("bench", "models") for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Keep a part's findings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, default=str) + "\n")


def run_pytest(arguments: Sequence[str], seconds: float) -> Ran:
    """The records of a pytest of its own, those that it had when its time was up, and what is wrong
    with them.
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
                said, _ = process.communicate(timeout=max(1.0, seconds - GRACE))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                try:
                    said, _ = process.communicate(timeout=GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    said, _ = process.communicate()
                problems.append(
                    f"the time was up after {seconds:.0f} s; once more, with warm caches, it gets further"
                )
        if not report.exists():
            raise SystemExit(f"pytest left no report:\n{said[-3000:]}")
        records = [Record.from_dict(row) for row in json.loads(report.read_text())["records"]]
        return records, problems + failures(records)


def _hear_interrupts() -> None:
    """In the child: what a script starts in the background is deaf to interrupts, and so are its
    children.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def failures(records: Sequence[Record]) -> list[str]:
    """Cells that ended badly, with their reasons."""
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
    """The quick matrix: whether every cell runs, and its answers are right."""
    chosen = (
        "cuda,cuda-eager-bf16,cuda-eager-fp16,cuda-eager-tf32,cuda-compile_reduce_overhead-fp32"
    )
    # of which other dtypes and CUDA graphs are run as well, and one training
    few = " or ".join(CELLS)
    usual = "fp32 and not reduce_overhead and not train_"
    select = f"not attn_cuda and not roofline and (({usual}) or {few} or ({TRAINED} and fp32))"
    return matrix_of(*run_pytest(["--bench-targets", chosen, "-k", select], seconds))


def matrix_of(records: Sequence[Record], problems: Sequence[str]) -> dict[str, Any]:
    """The parity table, and what is wrong."""
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
    told = [", ".join(f"{number} {status}" for status, number in count.items() if number)]
    told += [f"closest to its limit: {max(shares):.0%}"] if shares else []
    told += [
        f"{record.cell}: unchecked, {record.reason}"
        for record in records
        if record.status is Status.UNCHECKED
    ]
    reasons = Counter(record.reason for record in records if record.status is Status.SKIPPED)
    told += [f"{number} skipped: {reason}" for reason, number in reasons.items()]
    none = [] if count[Status.OK] else ["no cell was measured"]
    return {"told": told, "problems": [*problems, *none], "cells": rows}


def steady(seconds: float) -> dict[str, Any]:
    """The same cells five times, or as often as there is time: how far apart their medians are."""
    began, runs = time.monotonic(), []
    for number in range(RUNS):
        left = seconds - (time.monotonic() - began)
        if number and left < (seconds - left) / number:
            break
        runs.append(run_pytest(FEW, left))
    return steady_of(runs)


def steady_of(runs: Sequence[Ran]) -> dict[str, Any]:
    """The coefficient of variation of p50 over runs, by cell."""
    times: dict[str, list[float]] = {}
    for record in (record for records, _ in runs for record in records):
        if record.measured and record.latency_p50 is not None:
            times.setdefault(record.cell, []).append(record.latency_p50)
    spread = {
        cell: statistics.stdev(found) / statistics.fmean(found)
        for cell, found in times.items()
        if len(found) > 1
    }
    told = [
        f"{cell}: {share:.2%} over {len(times[cell])} runs"
        for cell, share in sorted(spread.items())
    ]
    problems = list(dict.fromkeys(line for _, lines in runs for line in lines))
    problems += [] if len(runs) == RUNS else [f"there was time for {len(runs)} runs, not {RUNS}"]
    return {
        "told": told,
        "problems": problems + ([] if spread else ["no cell was measured twice"]),
        "coefficient_of_variation": spread,
        "p50": times,
    }


def same(seconds: float) -> dict[str, Any]:
    """The gate with the same code on both sides."""
    return gate_of(*_gate(seconds, {}), {})


def planted(seconds: float) -> dict[str, Any]:
    """The gate with slowdowns of 2, 3 and 5 % planted in three cells of one run."""
    cells = [f"{name}-cuda-eager-fp32" for name in CELLS]
    sizes = dict(zip(random.Random(1).sample(cells, len(SIZES)), SIZES, strict=True))
    return gate_of(*_gate(seconds, sizes), sizes)


def _gate(seconds: float, sizes: Mapping[str, float]) -> Ran:
    plants = [
        part
        for cell, size in sizes.items()
        for part in ("--bench-plant", f"{cell}={100 * size:g}%")
    ]
    # it ends by itself, else it would have no verdict
    limit = max(1, round(seconds - GRACE - AROUND))
    gate = ["--bench-against", "HEAD", "--bench-profile", "strict", "--bench-limit", str(limit)]
    return run_pytest([*FEW, *gate, *plants], seconds)


def gate_of(
    records: Sequence[Record], wrong: Sequence[str], sizes: Mapping[str, float]
) -> dict[str, Any]:
    """Verdicts beside what was planted: nothing else may be red, and a planted cell should be."""
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
    told = [
        f"{r.cell}: {r.verdict}, {r.effect:+.2%} ({sizes.get(r.cell, 0.0):.0%} planted)"
        for r in judged
    ]
    return {"told": told, "problems": problems, "verdicts": rows}


def operators(seconds: float) -> dict[str, Any]:
    """Three operators by our clock and by triton's ``do_bench``."""
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
    """Our medians over theirs."""
    ours = {record.cell: record.latency_p50 for record in records if record.latency_p50 is not None}
    ratios = {cell: ours[cell] / theirs[cell] for cell in theirs if cell in ours}
    told = [
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
        "told": told,
        "problems": problems,
        "ratio": ratios,
        "ours": ours,
        "do_bench": dict(theirs),
    }


def roofs(seconds: float) -> dict[str, Any]:
    """Attention's kernels against a matrix product and a copy of the same run."""
    select = ["--bench-targets", "cuda-eager-bf16,cuda-compile-bf16", "-k", ROOFS]
    return roofs_of(*run_pytest(select, seconds))


def roofs_of(records: Sequence[Record], problems: Sequence[str]) -> dict[str, Any]:
    """What each kernel achieves, and the best one."""
    attainable, every = roofline.roofs(records), roofline.achieved(records)
    kernels = [
        one for one in every if one.share is not None and not one.cell.startswith("roofline")
    ]
    told = [
        f"a matrix product attains {rate / 1e12:.0f} TFLOP/s in {dtype}"
        for (_, dtype), rate in attainable.flops.items()
    ]
    told += [f"a copy attains {rate / 1e9:.0f} GB/s" for rate in attainable.bytes.values()]
    if kernels:
        best = max(kernels, key=lambda one: one.share or 0.0)
        told.append(f"best: {best.cell}, {best.share:.0%} of the roof, limited by {best.limit}")
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
    return {"told": told, "problems": [*problems, *none], "achieved": rows}


def providers(seconds: float) -> dict[str, Any]:
    """ONNX Runtime in each of its ways: whether the GPU really ran it."""
    chosen = "cuda-onnxruntime*-fp32,cuda-tensorrt-fp32,cuda-onnxruntime-fp16,cuda-eager-fp32"
    return providers_of(
        *run_pytest(
            ["--bench-targets", chosen, "-k", "cnn_digits-b32 or bert_mini-b8_s64"], seconds
        )
    )


def providers_of(records: Sequence[Record], problems: Sequence[str]) -> dict[str, Any]:
    """Providers and placement of nodes of every cell that ran; a skipped one with its reason."""
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
    told = [f"{row['cell']}: {row['nodes_by_provider'] or row['reason']}" for row in rows]
    placed = [
        record.facts.get("nodes_by_provider", {}) for record in ours if record.status is Status.OK
    ]
    proven = any(nodes.get(CUDA) for nodes in placed)
    none = [] if proven or not find_spec("onnxruntime") else ["ONNX Runtime ran nothing on the GPU"]
    return {"told": told, "problems": [*problems, *none], "cells": rows}


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
