"""Joins the two halves of the harness: ``bench`` measures, ``reports`` tells."""

pytest_plugins = ["paritygate.plugin", "paritygate_reports.plugin"]
