"""The gate: is head slower than base? Statistics (pure), revisions, launches, and the run that uses
them.
"""
