"""The facts of a cell without noise. The gate compares them exactly, and a case may keep them."""

from __future__ import annotations

FACTS = (
    "graphs",
    "graph_breaks",
    "recompiles",
    "captured_calls",
    "fused_attention",
    "nodes",
    "optimised_nodes",
    "fusions",
    "providers",
    "nodes_by_provider",
    "sdpa_kernels",
    "graph_hash",
    "generated_code",
    "parameters",
    "flops",
)
