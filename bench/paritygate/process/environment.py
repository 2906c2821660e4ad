"""Laboratory conditions: the environment that measuring processes are started with.

glibc gives large temporaries back to the kernel after every operator. Each call then pays page
faults, and their number differs by chance from process to process. BLAS and OpenMP size their pools
by the cores of the host, not of the container. The table below removes these effects. It is
supported by evidence: ``reports/evidence/laboratory.csv``, made by ``python -m
bench.evidence.laboratory``.

Tried and left out:

- ``OMP_PROC_BIND=true`` pins the main thread; onnxruntime's pool inherits the mask and runs on one
  core.
- ``MALLOC_TOP_PAD_`` above 64 MiB (a thread's arena) sends every allocation of onnxruntime's
  threads to mmap.
- ``torch.set_num_threads(n)``, even with the number that is set already, makes SDPA at sequence 128
  15 % slower: ``python -m bench.evidence.threads``.
- ``MALLOC_ARENA_MAX=1`` makes the OpenMP team of CPU flash attention queue for one arena: 35-45 %
  slower.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path

GIB = 1 << 30

# Always set, also with --bench-lab off: these switch off things that belong to no model.
QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",  # else importing onnxruntime starts a thread and opens a database
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow's own, which pandas imports: one thread can be forked
    "OPENBLAS_NUM_THREADS": "1",  # numpy's and scipy's own pools; torch and onnxruntime do not use them
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # is_available() without a CUDA context, which forks cannot share
    "TOKENIZERS_PARALLELISM": "false",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no pool of compile processes beside the measured one
}

MALLOC = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(
        4 * GIB
    ),  # glibc keeps what it has: no page faults in the measured loop
    "MALLOC_TRIM_THRESHOLD_": str(16 * GIB),
    "THP_MEM_ALLOC_ENABLE": "1",  # torch asks for huge pages
}

# A laboratory process must not inherit these: they tune allocators, threads or kernels.
TUNING = (
    "MALLOC_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
    "OMP_",
    "GOMP_",
    "KMP_",
    "MKL_",
    "OPENBLAS_",
    "THP_",
    "TORCHINDUCTOR_",
    "TORCH_COMPILE",
    "TORCHDYNAMO_",
    "TRITON_",
    "ONEDNN_",
    "DNNL_",
    "PYTORCH_",
    "ATEN_",
    "CUBLAS",
    "CUDNN_",
    "CUDA_LAUNCH_BLOCKING",
    "NVIDIA_TF32_OVERRIDE",
)

# Exceptions: these only give the path of a tool.
PLACES = (
    "TRITON_PTXAS_PATH",
    "TRITON_PTXAS_BLACKWELL_PATH",
    "TRITON_CUOBJDUMP_PATH",
    "TRITON_NVDISASM_PATH",
    "TRITON_LIBCUDA_PATH",
)


def environment(
    base: Mapping[str, str],
    *,
    threads: int,
    cache: Path,
    laboratory: bool,
    hash_seed: int | None = None,
) -> dict[str, str]:
    """Return the environment of a measuring process.

    ``base``: the user's. With ``laboratory``, variables that tune allocators, threads or kernels
    are removed from it first. ``cache`` holds the files of inductor, triton and the models. It is
    private to the project, so that cold and warm are known. ``hash_seed``: drawn once per launch.
    """
    kept = {
        name: value
        for name, value in base.items()
        if not (laboratory and name.startswith(TUNING)) or name in PLACES
    }
    kept |= QUIET | {
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "PARITYGATE_CACHE": str(cache),
    }
    checkpoint = base.get("PARITYGATE_BERT")
    if checkpoint is None or Path(checkpoint).exists():
        kept.setdefault("HF_HUB_OFFLINE", "1")  # no network unless a hub name was given
    if laboratory:
        kept |= MALLOC | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "PYTHONHASHSEED": str(random.randrange(2**32) if hash_seed is None else hash_seed),
        }
    return kept


def asked(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the part of an environment that the laboratory set, for the record and the doctor."""
    names = [*QUIET, *MALLOC, "OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED"]
    return {name: environ[name] for name in names if name in environ}
