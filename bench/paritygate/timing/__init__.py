"""How long does a call take? Pure: knows no torch and no process."""
