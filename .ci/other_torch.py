"""Make .venv-other: all that .venv has, and another torch in place of its own.

    .venv/bin/python .ci/other_torch.py 2.14.1

On Linux, PyPI has torch only for CUDA: 1.1 GB, and 3 GB of CUDA's libraries, which the import of
torch must find, but which no cell on a CPU calls. CUDA's runtime is installed, which torch asks for
a GPU. Each of the others is replaced by an empty library, so no cell can run on a GPU.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement

OTHER = Path(".venv-other")
CUDA = re.compile(r"cuda|nvidia|triton")  # packages
# the one that is installed: a part of cuda-toolkit, in earlier releases a package of its own
RUNTIME_PART, RUNTIME = "cudart", re.compile("nvidia-cuda-runtime")
CUDA_LIBRARY = re.compile(r"NEEDED.*\[(lib(?:cu|nv|nccl).+)\]")
CUDA_FUNCTION = re.compile(r"cu|nv|nccl")  # of a library without versions


def needed(site: str) -> Iterator[str]:
    """Yield the requirements of the torch in a folder of packages; of those for CUDA, the runtime."""
    (torch,) = distributions(name="torch", path=[site])
    for requirement in map(Requirement, torch.requires or ()):
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        requirement.extras &= {RUNTIME_PART}
        runtime = requirement.extras or RUNTIME.match(requirement.name)
        if wanted and (runtime or not CUDA.match(requirement.name)):
            requirement.marker = None
            yield str(requirement)


def replace_cuda(site: Path) -> None:
    """Write an empty library for each one of CUDA that torch needs and that is not installed."""
    libraries = [str(path) for path in site.glob("torch/lib/*.so")]
    if not libraries:  # not on Linux
        return
    read = ["readelf", "--wide", "--dynamic", "--version-info", "--dyn-syms", *libraries]
    text = subprocess.run(read, check=True, capture_output=True, text=True).stdout
    versions = dict(re.findall(r"File: (\S+) .*\n.*Name: (\S+)", text))
    functions = set(re.findall(r"UND (\w+)(?:@(\S+))?", text))
    installed = {path.name for path in site.glob("nvidia/*/lib/*")}
    for library in set(CUDA_LIBRARY.findall(text)) - installed:
        version = versions.get(library, "")
        own = (name for name, of in functions if of == version)
        code = "".join(
            f"void {name}(void) {{}}\n" for name in own if version or CUDA_FUNCTION.match(name)
        )
        with tempfile.NamedTemporaryFile("w") as script:
            script.write(f"{version} {{ global: *; }};")
            script.flush()
            link = [f"-Wl,-soname,{library}", f"-Wl,--version-script={script.name}"]
            path = str(site / "torch" / "lib" / library)
            compiler = ["gcc", "-shared", "-fPIC", *link, "-x", "c", "-", "-o", path]
            subprocess.run(compiler, input=code, text=True, check=True)


def main(version: str) -> None:
    """Make the environment; pip reports what it does."""
    venv = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(OTHER)]
    subprocess.run(venv, check=True)
    base = {"base": str(OTHER.resolve()), "platbase": str(OTHER.resolve())}
    site = sysconfig.get_path("purelib", "venv", base)
    # after its own packages, and with the .pth files there, which show where paritygate is
    shared = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    Path(site, "shared.pth").write_text(shared)
    # compiled when imported, which most of it never is
    pip = [str(OTHER / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    pip += ["--quiet", "--no-compile", "--no-warn-conflicts"]  # of what is left out
    subprocess.run([*pip, "--no-deps", f"torch=={version}"], check=True)
    subprocess.run([*pip, *needed(site)], check=True)
    replace_cuda(Path(site))


if __name__ == "__main__":
    main(sys.argv[1])
