"""Make .venv-other: all that .venv has, and another torch in place of its own.

    .venv/bin/python .ci/other_torch.py 2.14.1

Only torch is installed, and what it needs to be imported: 4 GB where that is for CUDA, 1.2 GB less
than with all that it asks for, in two thirds of the time. What only a GPU uses is left out.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement

OTHER = Path(".venv-other")
GPU_ONLY = ("triton", "cuda-bindings")
GPU_ONLY_PARTS = {"cusolver", "nvtx"}  # of cuda-toolkit


def needed(site: str) -> list[str]:
    """Return the requirements of the torch in a folder of packages, as pip takes them."""
    (torch,) = distributions(name="torch", path=[site])
    found = []
    for requirement in map(Requirement, torch.requires or ()):
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name not in GPU_ONLY:
            requirement.extras -= GPU_ONLY_PARTS
            requirement.marker = None
            found.append(str(requirement))
    return found


def main(version: str) -> None:
    """Make the environment; pip reports what it does."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", OTHER], check=True)
    base = {"base": str(OTHER.resolve()), "platbase": str(OTHER.resolve())}
    site = sysconfig.get_path("purelib", "venv", base)
    # after its own packages, and with the .pth files there, which show where paritygate is
    shared = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    Path(site, "shared.pth").write_text(shared)
    # compiled when imported, which most of it never is
    pip = [OTHER / "bin/python", "-m", "pip", "install", "--disable-pip-version-check"]
    pip += ["--quiet", "--no-compile", "--no-warn-conflicts"]  # of what is left out
    subprocess.run([*pip, "--no-deps", f"torch=={version}"], check=True)
    subprocess.run([*pip, *needed(site)], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
