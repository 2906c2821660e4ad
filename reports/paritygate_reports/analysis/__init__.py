"""What stored runs tell together: history, change points."""
