"""Measuring processes, seen from the pytest process: start them, talk to them, end them."""
