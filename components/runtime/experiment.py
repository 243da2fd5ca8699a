"""The DVC experiment that a stage runs in: its name, and the project that it belongs to.

DVC runs a queued or temporary experiment in a copy of the project that it deletes. What outlives the experiment belongs to the project.
"""

import os
from pathlib import Path

NAME, ROOT = "DVC_EXP_NAME", "DVC_ROOT"
"""Variables that DVC sets for the stages of an experiment; DVC_ROOT is the project's root, also in a copy."""


def experiment_name() -> str | None:
    """Name of the experiment, or None outside of one."""
    return os.environ.get(NAME) or None


def project_root() -> Path:
    """Root of the project that the experiment belongs to; outside of one, the current folder."""
    return Path(os.environ[ROOT]) if experiment_name() and os.environ.get(ROOT) else Path()
