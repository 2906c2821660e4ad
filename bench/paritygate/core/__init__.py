"""Frozen values and enums that every other package uses. Standard library only."""
