"""When do two answers agree? Pure, on numpy arrays."""
