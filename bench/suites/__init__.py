"""The suites: the files here are collected by ``pytest bench``."""
