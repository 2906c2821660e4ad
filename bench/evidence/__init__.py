"""Scripts that made the files in ``reports/evidence/``. Each names its command, and is run by
hand.
"""
