"""Parity: whether two answers agree. Pure, on numpy arrays."""
