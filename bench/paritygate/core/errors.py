"""UserError: an error that the user can fix."""


class UserError(Exception):
    """The user's request cannot be done. The message says why and what to do, and is shown without
    a traceback.
    """
