"""UserError: what cannot be done, in words for the user."""


class UserError(Exception):
    """Something the user asked for cannot be done; the message says what and what to do. Shown
    without a traceback.
    """
