"""The machine: processors, GPUs, locks, git, files. Imports no torch."""
