"""Measuring processes as the pytest process sees them: start, talk to, end."""
