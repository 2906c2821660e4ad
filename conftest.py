"""Joins the two halves of the harness: ``bench`` measures, ``reports`` tells."""

pytest_plugins = ["bench.plugin", "reports.plugin"]
