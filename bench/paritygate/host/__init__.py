"""The machine: processors, GPUs, locks, git, files. No torch."""
