"""One case on one device as torch objects. Imported in measuring processes only."""
