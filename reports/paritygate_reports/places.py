"""Where records are kept unless somebody says otherwise, and how a URL is told from a path. Imports
nothing heavy.
"""

import re

STORE_VARIABLE = "PARITYGATE_STORE"  # of the environment: a SQLite file or the URL of a database
STORE_FILE = "store.sqlite"  # in the folder that ``paritygate.host.paths`` finds


def is_url(text: str) -> bool:
    """Whether a text means a database by URL.

    Also one that is misspelt (``postgresql:user:password@host``): taken for a path, its password
    would be shown.
    """
    return "://" in text or re.match(r"[A-Za-z][\w+]*:|.*\bpassword=", text) is not None
