"""Slow tests: many models and operators, each through every backend."""
