"""One run: from declared cells to records. No pytest, no torch."""
