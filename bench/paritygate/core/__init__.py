"""Frozen values and enums that every other package uses. Standard library only; ``packaging`` is
imported where a known failure names versions.
"""
