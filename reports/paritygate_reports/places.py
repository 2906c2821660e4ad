"""The default place of the store, and the difference between a URL and a path. Imports nothing
heavy.
"""

import re

STORE_VARIABLE = "PARITYGATE_STORE"  # of the environment: a SQLite file or the URL of a database
STORE_FILE = "store.sqlite"  # in the folder that ``paritygate.host.paths`` finds


def is_url(text: str) -> bool:
    """Return whether a text is the URL of a database.

    True also for a misspelt one (``postgresql:user:password@host``): as a path its password would
    be shown.
    """
    return "://" in text or re.match(r"[A-Za-z][\w+]*:|.*\bpassword=", text) is not None
