"""The shell around every stage's command line: --help, one-line errors, exit codes."""

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from components.errors import LesionflowError

INTERRUPTED = 130  # what shells report for Ctrl-C


def run(main: Callable[[], object], description: str) -> None:
    """Run a stage and end the process: 0 done, 1 a fault a person can mend, 2 wrong usage, 130 interrupted.

    A stage takes no flags: its knobs are in params.yaml, so that DVC sees them.
    """
    argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Run it from the project's root. All its knobs are in params.yaml.",
    ).parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        main()
    except LesionflowError as fault:
        _stop(str(fault))
    except KeyboardInterrupt:
        print("\ninterrupted: nothing half-written was kept; `dvc repro` carries on from here", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except OSError as fault:
        if fault.errno != errno.ENOSPC:
            raise
        _stop(f"the disk is full ({fault.filename or Path.cwd()}): free some space and run `dvc repro` again")


def _stop(message: str) -> None:
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    raise SystemExit(1)
