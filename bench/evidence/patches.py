"""Show the gate's verdicts on realistic slowdowns: patches of the code under test, with the verdict
on each cell.

    python -m bench.evidence.patches --file reports/evidence/patches.csv

Each patch is applied in a temporary clone of this repository; the clone's HEAD is base. Each cell
of a run is a row.
"""

from __future__ import annotations

import csv
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evidence import command_line
from paritygate.gate import aa
from paritygate.gate.session import code_digest

Edit = tuple[str, str, str]  # (file, old text, new text)


@dataclass(frozen=True)
class Patch:
    """A change from base to head, and the cells to look at. ``before``: a change that base needs
    first.
    """

    name: str
    cells: str
    targets: str
    head: Edit
    before: Edit | None = None


SCORES = "        return attention(query, key, value, mask)\n"
NORMALISED = "    return scores.softmax(dim=-1) @ value\n"
OPERATOR = """    return functional.scaled_dot_product_attention(
        query, key, value, mask, is_causal=causal, enable_gqa=_grouped(query, key)
    )
"""
RGB = "        x = functional.max_pool2d(functional.relu(self.conv1(images)), 2)\n"
LAST = RGB.replace("images", "images.contiguous(memory_format=torch.channels_last)")
DIGITS = "        x = functional.relu(self.conv1(images))\n"
ATTENTION, CNN = "models/attention.py", "models/cnn.py"
ALL, COMPILED = (
    "cpu-eager-fp32,cpu-compile-fp32,cpu-onnxruntime-fp32",
    "cpu-eager-fp32,cpu-compile-fp32",
)
NAIVE, SDPA = "attn_naive-b4", "attn_sdpa-b4"

FORMULA = "    return attention(query, key, value, mask)\n"
UPCAST = "    return scores.float().softmax(dim=-1).to(value.dtype) @ value\n"
ITEM = "        if images.abs().sum().item() == 0:\n            return images.new_zeros(len(images), 10)\n"
FEWER = "        torch.set_num_threads(max(1, torch.get_num_threads() - 1))\n"
TURNED = "key.transpose(-2, -1) /"

PATCHES = (
    Patch(
        "extra .contiguous()",
        NAIVE,
        ALL,
        (ATTENTION, TURNED, TURNED.replace(" /", ".contiguous() /")),
    ),
    Patch("lost channels_last", "cnn_rgb-b32", ALL, (CNN, LAST, RGB), before=(CNN, RGB, LAST)),
    Patch(
        "upcast to fp32", NAIVE, "cpu-eager-bf16,cpu-compile-bf16", (ATTENTION, NORMALISED, UPCAST)
    ),
    Patch("SDPA replaced by the formula", SDPA, ALL, (ATTENTION, OPERATOR, FORMULA)),
    Patch(
        "graph break",
        NAIVE,
        COMPILED,
        (ATTENTION, SCORES, "        torch._dynamo.graph_break()\n" + SCORES),
    ),
    Patch(".item() in forward", "cnn_digits-b32", COMPILED, (CNN, DIGITS, ITEM + DIGITS)),
    Patch("one thread less", NAIVE, COMPILED, (ATTENTION, SCORES, FEWER + SCORES)),
)
COLUMNS = (
    "patch",
    "cell",
    "exit",
    "verdict",
    "effect",
    "low",
    "high",
    "sd",
    "launches",
    "detectable",
    "reason",
    "findings",
    "code",
)
EFFECT = ("effect", "effect_low", "effect_high", "effect_sd")


def main() -> None:
    """Run every patch that the file does not hold, and print the verdicts."""
    parser = command_line.parser()
    parser.add_argument("--file", type=Path, default=Path("reports/evidence/patches.csv"))
    path = parser.parse_args().file
    rows = list(csv.reader(path.open(newline=""))) if path.exists() else []
    rows = [row for row in rows if row and not row[0].startswith("#") and row[0] != "patch"]
    if stale := {row[-1] for row in rows} - {code_digest()}:
        parser.error(
            f"{path} was made with other code of the gate ({', '.join(sorted(stale))}); use another --file"
        )
    for patch in PATCHES:
        if any(row[0] == patch.name for row in rows):
            continue
        rows += _run(patch)
        _write(path, rows)
        for row in rows:
            if row[0] == patch.name:
                print(
                    f"{patch.name}: {row[1]} {row[3]} {row[4]} after {row[8]} launch pairs; {row[11]}",
                    flush=True,
                )


def _run(patch: Patch) -> list[list[str]]:
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "clone"
        _git(["clone", "-q", str(Path.cwd()), str(clone)], Path.cwd())
        if patch.before is not None:
            _edit(clone, patch.before)
            _git(["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qam", "base"], clone)
        _edit(clone, patch.head)
        result = aa.against_head(["-k", patch.cells, "--bench-targets", patch.targets], clone)
    code = result["run"]["environment"].get("gate", {}).get("code", "")
    return [
        [
            patch.name,
            r["cell"],
            str(result["exit"]),
            r["verdict"],
            *("" if r[name] is None else f"{r[name]:.4f}" for name in EFFECT),
            str(r["launches"]),
            "" if r["detectable"] is None else f"{r['detectable']:.3f}",
            r["verdict_reason"] or r["reason"],
            "; ".join(r["findings"]),
            code,
        ]
        for r in result["records"]
        if r["verdict"]
    ]


def _edit(clone: Path, edit: Edit) -> None:
    file, old, new = edit
    text = (clone / file).read_text()
    if text.count(old) != 1:
        raise SystemExit(
            f"{file} holds {text.count(old)} times the text that the patch changes: {old.strip()!r}"
        )
    (clone / file).write_text(text.replace(old, new))


def _git(arguments: Sequence[str], folder: Path) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="") as file:
        file.write("# python -m bench.evidence.patches\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
