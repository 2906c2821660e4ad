"""Scratch: the files that a group's reference worker leaves for its cell workers.

Inputs, weights and answers are made once, so every backend gets the same ones. A cell's peak memory
is its own, because no cell worker computes a reference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Scratch:
    """The folder of one group."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, name: str, value: Any) -> None:
        """Save anything that can be pickled: tensors, arrays, images, plain values."""
        torch.save(value, self.folder / f"{name}.pt")

    def load(self, name: str) -> Any:
        """Return the value that ``save`` saved. The folder belongs to this run, so unpickling is
        safe.
        """
        return torch.load(self.folder / f"{name}.pt", weights_only=False)

    def has(self, name: str) -> bool:
        """Return whether ``save`` saved something under that name."""
        return (self.folder / f"{name}.pt").exists()

    def save_artefact(self, backend: str, facts: dict[str, Any]) -> None:
        """Save the facts that a backend's ``artefact`` returned."""
        (self.folder / f"artefact-{backend}.json").write_text(json.dumps(facts))

    def artefact(self, backend: str) -> dict[str, Any]:
        """Return the facts that ``save_artefact`` saved."""
        return json.loads((self.folder / f"artefact-{backend}.json").read_text())

    def save_answers(self, name: str, sets: list[list[np.ndarray[Any, Any]]]) -> None:
        """Save the outputs of every input set."""
        arrays: dict[str, Any] = {
            f"{s}_{o}": array for s, outputs in enumerate(sets) for o, array in enumerate(outputs)
        }
        np.savez(self.folder / f"{name}.npz", **arrays)

    def has_answers(self, name: str) -> bool:
        """Return whether ``save_answers`` saved answers under that name."""
        return (self.folder / f"{name}.npz").exists()

    def load_answers(self, name: str) -> list[list[np.ndarray[Any, Any]]] | None:
        """Return the answers that ``save_answers`` saved, or None if there are none."""
        if not self.has_answers(name):
            return None
        sets: dict[int, dict[int, np.ndarray[Any, Any]]] = {}
        with np.load(self.folder / f"{name}.npz") as file:
            for key in file.files:
                number, output = map(int, key.split("_"))
                sets.setdefault(number, {})[output] = file[key]
        return [[sets[s][o] for o in sorted(sets[s])] for s in sorted(sets)]

    def save_weights(self, state: Mapping[str, torch.Tensor]) -> str:
        """Save a state dict. Return the SHA-256 of its names, dtypes, shapes and bytes."""
        index, digest = [], hashlib.sha256()
        with (self.folder / "weights.bin").open("wb") as file:
            for name, tensor in state.items():
                entry = [name, str(tensor.dtype), list(tensor.shape)]
                data = _bytes(tensor.detach().cpu().contiguous())
                digest.update(json.dumps(entry).encode())
                digest.update(data)
                file.write(data)
                index.append(entry)
        (self.folder / "weights.json").write_text(json.dumps(index))
        return digest.hexdigest()

    def load_weights(self, module: torch.nn.Module) -> None:
        """Read the saved weights into the module's own memory, without a second copy of the model.

        Raises ``ValueError`` that names the first key or shape in which the module differs.
        """
        state = {
            name: tensor for name, tensor in module.state_dict().items() if torch.is_tensor(tensor)
        }
        index = json.loads((self.folder / "weights.json").read_text())
        if [entry[0] for entry in index] != list(state):
            different = set(state) ^ {entry[0] for entry in index} or {"the order of the weights"}
            raise ValueError(
                f"the model was built with other weights than before: {min(different)}"
            )
        with (self.folder / "weights.bin").open("rb") as file:
            for name, dtype, shape in index:
                tensor = state[name].detach()
                if [str(tensor.dtype), list(tensor.shape)] != [dtype, shape]:
                    raise ValueError(
                        f"the model's weight {name} is {tensor.dtype} {list(tensor.shape)}, was {dtype} {shape}"
                    )
                direct = tensor.is_contiguous() and tensor.device.type == "cpu"
                target = tensor if direct else torch.empty(tensor.shape, dtype=tensor.dtype)
                if target.numel():
                    file.readinto(_bytes(target))
                if not direct:
                    tensor.copy_(target)


def _bytes(tensor: torch.Tensor) -> memoryview:
    """Return the memory of a contiguous CPU tensor of any dtype (numpy lacks bf16). It is
    writable.
    """
    return (
        memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
        if tensor.numel()
        else memoryview(b"")
    )
