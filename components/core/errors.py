"""Faults that a person can mend: they end a command with one clear message and no traceback."""


class LesionflowError(Exception):
    """A message that names the file or the value at fault and the way out."""


class SettingsError(LesionflowError):
    """params.yaml is missing, is not YAML, or holds a key or value that is not allowed."""


class UnreadableImage(LesionflowError):
    """Bytes that are no image this project accepts; the message is the reason."""


class Unavailable(LesionflowError):
    """Something outside this project did not answer, or was locked: the same call may work a little later."""
