"""paritygate measures: ``from bench import Case, Shape`` is all that a suite needs. Imports no torch."""

from bench.case import Case, Shape

__all__ = ["Case", "Shape"]
