"""aoti: the model exported by ``torch.export``, compiled ahead of time by AOTInductor into a
package, and run from it.

A package is made in the reference worker, one for each shape, and cached by content. A cell's
worker loads it and holds no model. Calls go to the package's loader, as from C++. The Python object
around it parses the signature from JSON in every call, which takes about 70 µs: longer than a call
of a small network.
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

LAYOUT = 1  # version of the cache's format
# Facts of a device that a package depends on: neither the card's identity nor its memory use.
COMPILED_FOR = ("cpu_capability", "gpu", "gpu_capability", "gpu_processors", "cuda")
# Calls in a package's source: kernels that inductor wrote, and operators of PyTorch with and without
# a C function.
KERNEL = re.compile(r"^ +(?:call_)?((?:cpp|triton)_\w+)\(", re.MULTILINE)
OPERATOR = re.compile(r"\(aoti_torch_(cpu|cuda)_(\w+)\(")
DISPATCHED = re.compile(r"\(aoti_torch_proxy_executor_call_function\(")
LACKS = "this torch has no torch._inductor."


def available(_target: Target) -> str | None:
    """Return why no package can be built here, or None. On every device it is a shared library that
    a C++ compiler builds.
    """
    if not compiled.has_compiler("CXX", "g++", "clang++"):
        return "AOTInductor needs a C++ compiler; install g++"
    return None


def preload() -> None:
    """Import inductor and the loader of packages, and find the vector instructions and the compiler
    once.
    """
    from paritygate.runtime import private

    private.read("torch._inductor.compile_fx")
    private.read("torch._inductor.package")
    _toolchain()


def artefact(subject: BoundCase) -> dict[str, Any]:
    """Export and compile the model unless the cache holds it. Return facts about the package, with
    ``path`` and ``cold``.
    """
    from paritygate.backends.flat import example

    started, inputs = time.perf_counter(), example(subject)
    path = Path(subject.cache) / "aoti" / f"{_key(subject, inputs)}.pt2"
    package = contents(path)
    cold = package is None
    if cold:
        _compile(subject, inputs, path)
        package = contents(path)
    if package is None:
        raise BackendError(f"the package {path} cannot be read back")
    return package | {
        "path": str(path),
        "signature": _signature(inputs),
        "cold": cold,
        "seconds": time.perf_counter() - started,
    }


def prepare(subject: BoundCase) -> PreparedModel:
    """Return the loaded package, on the requested device, for inputs like those it was compiled
    for.
    """
    import torch

    from paritygate.runtime import private
    from paritygate.runtime.facts import SDPA_KERNELS
    from paritygate.runtime.nest import comparable, tensor_leaves

    load = private.read("torch._inductor.aoti_load_package")
    if load is None:
        raise UnavailableError(f"{LACKS}aoti_load_package, which loads packages")
    artefact = subject.scratch.artefact("aoti")
    # The package is unpacked here: workers are killed, and the run's folder is always removed.
    os.environ["TMPDIR"] = subject.folder
    package = load(artefact["path"])
    metadata = package.get_metadata()
    device = metadata.get("AOTI_DEVICE_KEY")
    operators = artefact["operators"].get(subject.device, {})

    def feed(inputs: Any) -> list[torch.Tensor]:
        leaves = tensor_leaves(inputs)
        # the package itself does not check its inputs
        if (signature := _signature(leaves)) != artefact["signature"]:
            raise BackendError(
                f"compiled for inputs {artefact['signature']}, called with {signature}"
            )
        return leaves

    def facts() -> dict[str, Any]:
        if elsewhere := {*artefact["operators"], device or subject.device} - {subject.device}:
            raise BackendError(
                f"fallback: the package computes on {', '.join(sorted(elsewhere))}, not {subject.device}"
            )
        return {
            "package_bytes": artefact["bytes"],
            "kernels": artefact["kernels"],
            "operators": operators,
            "dispatched_operators": artefact["dispatched"],
            "instructions": metadata.get("AOTI_CPU_ISA"),
        } | ({"not_known": ["the package's device"]} if device is None else {})

    # Not from a profile: a package bypasses the dispatcher when it calls PyTorch's kernels, and a
    # profile sees only the dispatcher.
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
    """Return the contents of a package, or None if it does not exist or is damaged.

    ``kernels``: number of calls of kernels that inductor wrote. ``operators``: device -> operator
    of PyTorch -> calls. ``dispatched``: calls of operators without a C function, which PyTorch's
    dispatcher runs.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
            (wrapper,) = (
                archive.read(name) for name in archive.namelist() if name.endswith("wrapper.cpp")
            )
            source = wrapper.decode()
    except Exception:  # whatever the error, the file is no package
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
    """Export, compile in the group's own folder, which is removed with the run, and move the result
    into the cache in one step.
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
    """Return a hash of everything that a package depends on: source, weights, signature, versions,
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
    """Return compiler, processor and vector instructions: code is compiled for the machine it is
    compiled on. None stands for each one that this torch does not report.
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
    """Return dtype, sizes and strides of every tensor. Strides along dimensions of size 1 are left
    out.
    """
    from paritygate.runtime.nest import tensor_leaves

    return [
        [
            str(leaf.dtype),
            list(leaf.shape),
            [n for n, size in zip(leaf.stride(), leaf.shape, strict=True) if size > 1],
        ]
        for leaf in tensor_leaves(inputs)
    ]
