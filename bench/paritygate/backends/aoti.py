"""aoti: the model exported by ``torch.export``, compiled ahead of time by AOTInductor into a
package, and run from it.

A package is made in the reference worker, one for each shape, and cached by content; a cell's
worker loads it and holds no model. What is called is the package's loader, as it is from C++: the
Python object around it reads the signature from JSON in every call, some 70 µs, which is longer
than a small network takes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import time
import zipfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paritygate.backends import BackendError, PreparedModel, UnavailableError, compiled

if TYPE_CHECKING:
    from paritygate.core.case import Target
    from paritygate.runtime.subject import BoundCase

LAYOUT = 1  # of a cache entry
# What of a device's facts a package follows from: not which card it is, nor what its memory held.
COMPILED_FOR = ("cpu_capability", "gpu", "gpu_capability", "gpu_processors", "cuda")
# What a package's own source calls: kernels that inductor wrote, and operators of PyTorch with or
# without a C function.
KERNEL = re.compile(r"^ +(?:call_)?((?:cpp|triton)_\w+)\(", re.MULTILINE)
OPERATOR = re.compile(r"\(aoti_torch_(cpu|cuda)_(\w+)\(")
DISPATCHED = re.compile(r"\(aoti_torch_proxy_executor_call_function\(")
LACKS = "this torch has no torch._inductor."


def available(_target: Target) -> str | None:
    """Whatever the device, a package is a shared library that a C++ compiler builds."""
    if not compiled.has_compiler("CXX", "g++", "clang++"):
        return "AOTInductor needs a C++ compiler; install g++"
    return None


def preload() -> None:
    """Import inductor and what loads packages, and ask once which instructions and which compiler
    there are.
    """
    from paritygate.runtime import private

    private.read("torch._inductor.compile_fx")
    private.read("torch._inductor.package")
    _toolchain()


def artefact(subject: BoundCase) -> dict[str, Any]:
    """Export and compile the model unless the cache holds it; facts about the package, with
    ``path`` and ``cold``.
    """
    from paritygate.backends.flat import example

    started, inputs = time.perf_counter(), example(subject)
    path = Path(subject.cache) / "aoti" / f"{_key(subject, inputs)}.pt2"
    found = contents(path)
    cold = found is None
    if cold:
        _compile(subject, inputs, path)
        found = contents(path)
    if found is None:
        raise BackendError(f"the package {path} cannot be read back")
    return found | {
        "path": str(path),
        "signature": _signature(inputs),
        "cold": cold,
        "seconds": time.perf_counter() - started,
    }


def prepare(subject: BoundCase) -> PreparedModel:
    """The loaded package, on the device that was asked for, for inputs like those it was compiled
    for.
    """
    import torch

    from paritygate.runtime import private
    from paritygate.runtime.facts import SDPA_KERNELS
    from paritygate.runtime.nest import comparable, tensor_leaves

    load = private.read("torch._inductor.aoti_load_package")
    if load is None:
        raise UnavailableError(f"{LACKS}aoti_load_package, which loads packages")
    found = subject.scratch.artefact("aoti")
    # where it is unpacked: workers are killed, and what they leave must go
    os.environ["TMPDIR"] = subject.folder
    package = load(found["path"])
    metadata = package.get_metadata()
    device = metadata.get("AOTI_DEVICE_KEY")
    operators = found["operators"].get(subject.device, {})

    def feed(inputs: Any) -> list[torch.Tensor]:
        leaves = tensor_leaves(inputs)
        # the package itself does not look
        if (signature := _signature(leaves)) != found["signature"]:
            raise BackendError(f"compiled for inputs {found['signature']}, called with {signature}")
        return leaves

    def facts() -> dict[str, Any]:
        if elsewhere := {*found["operators"], device or subject.device} - {subject.device}:
            raise BackendError(
                f"fallback: the package computes on {', '.join(sorted(elsewhere))}, not {subject.device}"
            )
        return {
            "package_bytes": found["bytes"],
            "kernels": found["kernels"],
            "operators": operators,
            "dispatched_operators": found["dispatched"],
            "instructions": metadata.get("AOTI_CPU_ISA"),
        } | ({"not_known": ["the package's device"]} if device is None else {})

    # Not by profile: a package calls PyTorch's kernels past the dispatcher, which is what a profile
    # sees.
    kernels = {
        kernel: n
        for name, kernel in SDPA_KERNELS.items()
        if (n := operators.get(name.removeprefix("aten::")))
    }
    return PreparedModel(
        call=package.loader.run,
        model=package,
        to_inputs=feed,
        to_tensors=comparable,
        facts=facts,
        context=torch.inference_mode,
        kernels=lambda _: kernels,
        resizable=False,
    )


def contents(path: Path) -> dict[str, Any] | None:
    """What is in a package, or None where there is none or it is damaged.

    ``kernels``: calls of kernels that inductor wrote. ``operators``: device -> operator of PyTorch
    -> calls.
    ``dispatched``: calls of operators without a C function, which PyTorch's dispatcher runs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
            (wrapper,) = (
                archive.read(name) for name in archive.namelist() if name.endswith("wrapper.cpp")
            )
            source = wrapper.decode()
    except Exception:  # whatever is wrong with the file, it is no package
        return None
    operators: dict[str, Counter[str]] = {}
    for device, operator in OPERATOR.findall(source):
        operators.setdefault(device, Counter())[operator] += 1
    return {
        "bytes": path.stat().st_size,
        "kernels": len(KERNEL.findall(source)),
        "operators": operators,
        "dispatched": len(DISPATCHED.findall(source)),
    }


def _compile(subject: BoundCase, inputs: Any, path: Path) -> None:
    """Export, compile in the group's own folder, which goes with the run, and move into the cache
    at once.
    """
    import torch

    from paritygate.backends.flat import Flat, exportable
    from paritygate.runtime import private
    from paritygate.runtime.modes import autocast
    from paritygate.runtime.nest import tensor_leaves

    if subject.remembered:
        raise UnavailableError(
            f"the model keeps state between calls ({', '.join(subject.remembered)}), and a package cannot be put back "
            "to its initial state"
        )
    package = private.read("torch._inductor.aoti_compile_and_package")
    if package is None:
        raise UnavailableError(f"{LACKS}aoti_compile_and_package, which makes packages")
    fresh_cache = private.read("torch._inductor.utils.fresh_cache")
    module = exportable(subject)
    made = Path(subject.folder) / "model.pt2"
    # inductor's copies are not kept
    with (
        torch.no_grad(),
        autocast(subject)(),
        nullcontext() if fresh_cache is None else fresh_cache(dir=subject.folder),
    ):
        program = torch.export.export(Flat(module, inputs).eval(), tuple(tensor_leaves(inputs)))
        package(program, package_path=str(made))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        shutil.copyfile(made, draft)  # the cache may lie on another disk
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
        made.unlink()


def _key(subject: BoundCase, inputs: Any) -> str:
    """The content that a package follows from, hashed: source, weights, signature, versions,
    machine, threads.
    """
    import torch

    from paritygate.runtime.devices import DEVICES
    from paritygate.runtime.nest import flatten, value_of

    known = DEVICES[subject.device]().facts()
    content = {
        "layout": LAYOUT,
        "model": subject.case.model,
        "source": subject.source_digest(),
        "weights": subject.scratch.load("meta")["weights"],
        "signature": _signature(inputs),
        "plain": [value_of(leaf) for leaf in flatten(inputs) if not torch.is_tensor(leaf)],
        "dtype": subject.dtype_name,
        "device": [subject.device, {name: known[name] for name in COMPILED_FOR if name in known}],
        "threads": subject.threads,  # inductor writes their number into its loops
        "versions": _versions(),
        "toolchain": _toolchain(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def _versions() -> dict[str, str]:
    return {
        name: str(sys.modules[name].__version__)
        for name in ("torch", "transformers")
        if name in sys.modules
    }


def _toolchain() -> list[str | None]:
    """Compiler, processor and its vector instructions: code is compiled for the machine it is
    compiled on. None is what this torch does not tell.
    """
    from paritygate.host import machine
    from paritygate.runtime import private

    compiler = private.read("torch._inductor.cpp_builder.get_cpp_compiler")
    version = private.read("torch._inductor.cpp_builder.get_compiler_version_info")
    instructions = private.read("torch._inductor.cpu_vec_isa.pick_vec_isa")
    return [
        None if compiler is None or version is None else version(compiler()),
        machine.facts()["cpu"],
        None if instructions is None else str(instructions()),
    ]


def _signature(inputs: Any) -> list[list[Any]]:
    """Dtype, sizes and strides of every tensor; the stride along one element is nobody's."""
    from paritygate.runtime.nest import tensor_leaves

    return [
        [
            str(leaf.dtype),
            list(leaf.shape),
            [n for n, size in zip(leaf.stride(), leaf.shape, strict=True) if size > 1],
        ]
        for leaf in tensor_leaves(inputs)
    ]
