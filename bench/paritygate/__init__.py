"""The harness: ``from paritygate import Case, Shape`` is all that a suite needs. Imports no torch."""

from paritygate.core.case import Case, Shape

__all__ = ["Case", "Shape"]
