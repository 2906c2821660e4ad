"""The process of one cell. Imported in measuring processes only."""
