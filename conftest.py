"""Loads paritygate in a checkout that is not installed; an installed one is found by its entry points."""

pytest_plugins = ["paritygate.plugin", "paritygate_reports.plugin"]
