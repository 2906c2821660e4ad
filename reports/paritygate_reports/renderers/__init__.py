"""Renderers: one file each, pure. ``render(run, records, places)`` returns the text of a report;
``places`` are lines that say where the records and the files of the run are.

``files/writers.py`` uses them for the files of ``--bench-report``; ``session.py`` and the command
``show`` use the one of the terminal.
"""
