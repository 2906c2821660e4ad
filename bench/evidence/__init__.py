"""Scripts that made the files in ``reports/evidence/``; each says its command and is run by
hand.
"""
