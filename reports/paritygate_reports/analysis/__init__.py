"""Analysis of stored runs: comparison with history, change points."""
