"""The content of reports, as values that every renderer lays out in its own way."""
