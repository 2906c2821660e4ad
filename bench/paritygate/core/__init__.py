"""Frozen values and words that every other package uses. Standard library only."""
