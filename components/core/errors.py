"""User errors: a command reports them as one message without a traceback."""


class LesionflowError(Exception):
    """User error; the message names the file or the value and what to do."""


class SettingsError(LesionflowError):
    """params.yaml is missing, is not YAML, or has a key or value that is not allowed."""


class UnreadableImage(LesionflowError):
    """The bytes are not a supported image; the message gives the reason."""


class Unavailable(LesionflowError):
    """An external service did not respond, or a resource is locked; the same call may succeed later."""
