"""Timing: how long a call takes. Pure: imports no torch and starts no process."""
