"""Reports user errors of a command without a traceback."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from components.core.errors import LesionflowError, ServiceUnavailable
from components.core.escaping import for_terminal
from components.runtime.stage import DISK_FULL, INTERRUPTED, TRY_LATER


def user_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Report user errors of a command as one line without a traceback, and exit with the matching code."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            return command(*args, **kwargs)
        except LesionflowError as fault:
            for line in str(fault).splitlines():
                click.echo(f"error: {for_terminal(line)}", err=True)
            sys.exit(TRY_LATER if isinstance(fault, ServiceUnavailable) else 1)
        except OSError as fault:
            if fault.errno not in DISK_FULL:
                raise
            click.echo("error: the disk is full or a quota is reached: nothing was changed. Free some space and try again.", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            sys.exit(INTERRUPTED)

    return guarded
