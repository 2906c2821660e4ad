"""Make ``reports/evidence/overhead.json``: the cost of the harness itself.

    python -m bench.evidence.overhead

- The throughput of five cells against a bare loop, in one laboratory process, with the same object
  and the same four rotating inputs. Blocks alternate, and block means are compared.
- A worker without a model, from the request to fork it until it answers.
- The peak memory of cells with empty and with warm caches, and of BERT base in eager against a bare
  script.
- Collecting the whole matrix against collecting nothing.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from evidence import command_line
from paritygate.backends import BACKENDS
from paritygate.core.case import Case, Cell, Target
from paritygate.doctor import reference_cells
from paritygate.host import machine
from paritygate.process import environment
from paritygate.process.protocol import AskReady, Block, MakeReference, Open
from paritygate.timing import schedule

OUT = Path("reports/evidence/overhead.json")
MLP = Case(
    "mlp", model="models.mlp:MLP", inputs="models.mlp:flat_images", shapes={"b1": {"batch": 1}}
)
# four cells over 100 µs per call, and one under 20 µs
LOOPS = (
    (reference_cells.CNN, "eager"),
    (reference_cells.CNN, "onnxruntime"),
    (reference_cells.NAIVE, "compile"),
    (reference_cells.BERT_MINI, "eager"),
    (MLP, "onnxruntime"),
)
ROUNDS = 60

BARE_BERT_BASE = """
import torch
from transformers import BertConfig, BertForSequenceClassification
def peak():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmHWM"))
start = peak()
config = BertConfig(num_labels=2, hidden_dropout_prob=0, attention_probs_dropout_prob=0)
model = BertForSequenceClassification._from_config(config, attn_implementation="sdpa").eval()
with torch.inference_mode():
    for _ in range(32):
        ids = torch.randint(1, 30522, (1, 32))
        model(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids))
print(peak() - start)
"""


def _environment(cache: Path) -> dict[str, str]:
    return environment.environment(
        os.environ, threads=machine.threads(), cache=cache, laboratory=True
    )


def _task(case: Case, backend: str, folder: str, cache: Path) -> dict[str, Any]:
    return {
        "case": case.as_dict(),
        "shape": case.all_shapes()[0].name,
        "device": "cpu",
        "dtype_name": "fp32",
        "backend": backend,
        "folder": folder,
        "cache": str(cache),
        "seed": 0,
        "threads": machine.threads(),
        "laboratory": True,
    }


def loop(number: int) -> None:
    """Run blocks of the worker and of a bare loop in turn, in this laboratory process. Print the
    ratios as JSON.
    """
    from paritygate.runtime.subject import BoundCase
    from paritygate.worker.server import Worker

    case, backend = LOOPS[number]
    cache = Path(".paritygate/cache").absolute()
    module = BACKENDS[backend].module
    with tempfile.TemporaryDirectory() as folder:
        task = _task(case, backend, folder, cache)
        artefacts = {backend: module} if BACKENDS[backend].artefact else {}
        Worker(BoundCase.from_task(task | {"backend": ""}), task, str).reference(
            MakeReference(artefacts)
        )
        worker = Worker(BoundCase.from_task(task), task, str)
        worker.open(Open(module))
    opened = worker.opened
    model, feeds, guard = opened.prepared.model, opened.feeds, opened.prepared.context

    def bare(calls: int, samples: int) -> float:
        """Return the seconds per call of a hand-written loop."""
        turn = 0
        with guard():
            settled = time.perf_counter() + 0.01
            while time.perf_counter() < settled:
                _call(model, feeds[turn % 4])
                turn += 1
            start = time.perf_counter()
            if backend == "onnxruntime":
                for _ in range(calls * samples):
                    model.run(None, feeds[turn % 4])
                    turn += 1
            elif isinstance(feeds[0], dict):
                for _ in range(calls * samples):
                    model(**feeds[turn % 4])
                    turn += 1
            else:
                for _ in range(calls * samples):
                    model(*feeds[turn % 4])
                    turn += 1
            return (time.perf_counter() - start) / (calls * samples)

    seconds = min(worker.block(Block(1, 20, 0)).times)
    plan = schedule.plan(seconds)
    for _ in range(5):
        worker.block(Block(plan.calls, plan.samples, 0))
        bare(plan.calls, plan.samples)
    pairs = []
    for _ in range(ROUNDS):
        ours = theirs = 0.0
        for side in random.sample(("ours", "theirs"), 2):
            if side == "ours":
                ours = statistics.fmean(worker.block(Block(plan.calls, plan.samples, 0)).times)
            else:
                theirs = bare(plan.calls, plan.samples)
        pairs.append((ours, theirs))
    ratios = [math.log(ours / theirs) for ours, theirs in pairs]
    low, high = schedule.median_interval(ratios) or (0.0, 0.0)
    print(
        json.dumps(
            {
                "cell": f"{case.name}-cpu-{backend}-fp32",
                "seconds_per_call": statistics.median(theirs for _, theirs in pairs),
                "harness_over_bare": math.exp(statistics.median(ratios)),
                "interval": [math.exp(low), math.exp(high)],
                "of_block_medians": statistics.median(o for o, _ in pairs)
                / statistics.median(t for _, t in pairs),
            }
        )
    )


def _call(model: Any, feed: Any) -> Any:
    if hasattr(model, "run"):
        return model.run(None, feed)
    return model(**feed) if isinstance(feed, dict) else model(*feed)


def loops() -> list[dict[str, Any]]:
    """Return the five cells against the bare loop, each in a fresh laboratory process."""
    command = [sys.executable, "-m", "bench.evidence.overhead", "loop"]
    environ = _environment(Path(".paritygate/cache").absolute())
    return [
        json.loads(
            subprocess.run(
                [*command, str(n)], env=environ, check=True, capture_output=True, text=True
            ).stdout
        )
        for n in range(len(LOOPS))
    ]


def forks() -> dict[str, float]:
    """Return the seconds from the request for a worker until it answers."""
    from paritygate.process.client import ForkServer

    cache = Path(".paritygate/cache").absolute()
    modules = [backend.module for backend in BACKENDS.values() if backend.default]
    with tempfile.TemporaryDirectory() as folder:
        server = ForkServer(
            _environment(cache),
            Path(folder),
            modules=list(reference_cells.BERT),
            backends=modules,
            memory=None,
        )
        task = _task(reference_cells.CNN, "eager", folder, cache)
        server.fork(task).close()
        times = []
        for _ in range(50):
            start = time.perf_counter()
            worker = server.fork(task)
            worker.ask(AskReady(), 10)
            times.append(time.perf_counter() - start)
            worker.close()
        server.close()
    return {"median": statistics.median(times), "p90": schedule.quantile(times, 0.9)}


def memory() -> list[dict[str, Any]]:
    """Return the peak bytes of cells, caches empty and warm, and of a bare script for BERT base."""
    from paritygate.doctor.spread import new_laboratory
    from paritygate.session.group import GroupRun

    base = Case(
        "bert_base",
        model="models.bert:base",
        inputs="models.bert:full_mask",
        shapes={"b1_s32": {"batch": 1, "seq": 32}},
        preload=reference_cells.BERT,
    )
    rows: list[dict[str, Any]] = []
    for case, backend in (
        (reference_cells.CNN, "compile"),
        (reference_cells.CNN, "onnxruntime"),
        (reference_cells.BERT_MINI, "compile"),
        (reference_cells.BERT_MINI, "onnxruntime"),
        (base, "eager"),
    ):
        cell = Cell(case, case.all_shapes()[0], Target("cpu", backend, "fp32"))
        home = Path(tempfile.mkdtemp())
        peaks = []
        for _ in ("cold", "warm"):
            lab = new_laboratory(home, "laboratory", controlled=True, cells=[cell])
            run = GroupRun(lab, [cell])
            run.open()
            peaks.append(run.records[cell.id].peak_bytes)
            run.close()
            lab.close()
        shutil.rmtree(home)
        assert peaks[0] is not None
        assert peaks[1] is not None
        rows.append(
            {
                "cell": cell.id,
                "cold": peaks[0],
                "warm": peaks[1],
                "cold_over_warm": peaks[0] / peaks[1],
            }
        )
    environ = _environment(Path(".paritygate/cache").absolute())
    bare = subprocess.run(
        [sys.executable, "-c", BARE_BERT_BASE],
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    peak = int(bare.stdout)
    rows.append(
        {
            "cell": "bert_base eager, bare script",
            "peak": peak,
            "harness_over_bare": rows[-1]["warm"] / peak,
        }
    )
    return rows


def collection(rounds: int = 15) -> dict[str, float]:
    """Return the seconds to collect the whole matrix, and to collect nothing in the same
    environment, in turn.
    """
    with tempfile.TemporaryDirectory() as empty:
        commands = {
            "matrix": ["bench", "--collect-only", "-q"],
            "empty": [empty, "--collect-only", "-q", "-c", "/dev/null", "--rootdir", empty],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name in random.sample(list(commands), 2):
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-m", "pytest", *commands[name]],
                    check=False,
                    capture_output=True,
                )
                times[name].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(times["matrix"], times["empty"], strict=True)]
    return {name: statistics.median(values) for name, values in times.items()} | {
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def main() -> None:
    """Measure everything and write the file."""
    if sys.argv[1:2] == ["loop"]:
        loop(int(sys.argv[2]))
        return
    command_line.parser().parse_args()
    facts = machine.facts()
    result = {
        "command": "python -m bench.evidence.overhead",
        "machine": f"{facts['cpu']}, {facts['threads']} threads, {facts['libc']}, torch {facts['version_torch']}",
        "bare_loop": loops(),
        "fork_to_ready_seconds": forks(),
        "peak_bytes": memory(),
        "collect_seconds": collection(),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
