"""Tell what a build depends on beside the files of its tree: interpreter, packages, compilers, and
the environment variables that compilers and their callers read.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from paritygate.gate.build_command import path_of

VARIABLES = {
    "AR",
    "CC",
    "CFLAGS",
    "CPATH",
    "CPP",
    "CPPFLAGS",
    "CXX",
    "CXXFLAGS",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "DEBUG",
    "LD",
    "LDFLAGS",
    "LDSHARED",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "MACOSX_DEPLOYMENT_TARGET",
    "NO_CUDA",
    "PKG_CONFIG_PATH",
    "PYTHONPATH",
    "PYTORCH_ROCM_ARCH",
    "ROCM_HOME",
    "SOURCE_DATE_EPOCH",
    "TORCH_CUDA_ARCH_LIST",
}
# not MAX_JOBS, which changes no file
PREFIXES = ("CARGO", "CMAKE", "CUDA", "FORCE_", "NVCC", "RUST", "SETUPTOOLS_", "SKBUILD", "USE_")
NO_INPUT = {"CUDA_VISIBLE_DEVICES", "CUDA_CACHE_PATH", "CARGO_TERM_COLOR"}
DEADLINE = 60  # seconds
# The project's own version is left out: it may hold the commit.
ASK = """
import importlib.metadata, json, platform, sys, sysconfig
def ours(package):
    at = json.loads(package.read_text("direct_url.json") or "{}").get("url", "")
    return at.startswith("file://") and (at[7:] + "/").startswith(sys.argv[1] + "/")
packages = {f"{p.name}=={p.version}" for p in importlib.metadata.distributions() if not ours(p)}
print(json.dumps({
    "python": sys.version, "abi": sysconfig.get_config_var("SOABI"), "machine": platform.machine(),
    "system": sys.platform, "packages": sorted(packages),
    "CC": sysconfig.get_config_var("CC"), "CXX": sysconfig.get_config_var("CXX"),
}))
"""


def tools(python: str, repository: Path, environment: Mapping[str, str]) -> dict[str, object]:
    """Return what says interpreter, installed packages, compilers and variables of a build.

    ``environment``: of the build. Raises ``OSError`` if the interpreter does not answer.
    """
    try:
        done = subprocess.run(
            [python, "-c", ASK, str(repository)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE,
            env=dict(environment),
            cwd=os.sep,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"{python} does not tell its packages in {DEADLINE} s") from None
    if done.returncode:
        raise OSError(f"{python} does not tell its packages: {done.stderr.strip()[-300:]}")
    said: dict[str, object] = json.loads(done.stdout)
    programs = [environment.get(name) or said[name] for name in ("CC", "CXX")]
    found = [_program(str(one), path_of(python, environment)) for one in (*programs, "nvcc")]
    return said | {"compilers": found, "variables": variables(environment)}


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that change what a build makes."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if (name in VARIABLES or name.startswith(PREFIXES)) and name not in NO_INPUT
    }


def _program(command: str, path: str) -> str:
    """Return what says which program a command starts, "" if there is none."""
    found = shutil.which((shlex.split(command) or [""])[0], path=path)
    if found is None:
        return ""
    file = Path(found).resolve()
    return f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}"
