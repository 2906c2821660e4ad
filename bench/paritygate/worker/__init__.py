"""The process of one cell. Imported only in measuring processes."""
