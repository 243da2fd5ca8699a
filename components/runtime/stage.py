"""The shell around every stage's command line: --help, one-line errors, exit codes."""

import argparse
import errno
import logging
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from components.core.errors import LesionflowError, Unavailable
from components.core.escaping import for_terminal
from components.runtime import environment
from components.runtime.tensorflow import load_tensorflow
from components.runtime.timing import PARTS, counted, seconds

environment.prepare()

INTERRUPTED = 130  # what shells report for Ctrl-C
TRY_LATER = os.EX_TEMPFAIL
GRACE = 20.0  # seconds to finish in, once interrupted
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def end_with_reader() -> None:
    """Interrupt this process once nobody reads its output any more.

    Where a flow is killed, its stage would otherwise train on unseen, holding DVC's lock. Only pipes are watched: a
    terminal sends its own signal, and a file is always there.
    """
    if not stat.S_ISFIFO(os.fstat(1).st_mode):
        return

    def watch() -> None:
        reader = select.poll()
        reader.register(1, 0)  # no event is asked for: poll always reports POLLERR, which is a pipe without a reader
        reader.poll()
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(GRACE)
        os._exit(INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()


def run(main: Callable[[], object], description: str, *, tensorflow: bool = False) -> None:
    """Run a stage and end the process: 0 done, 1 a fault a person can mend, 2 wrong usage, 75 try later, 130 interrupted.

    A stage takes no flags: its knobs are in params.yaml, so that DVC sees them. `tensorflow` says that it needs TensorFlow.
    """
    argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Run it from the project's root. All its knobs are in params.yaml.",
    ).parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
    end_with_reader()
    try:
        if tensorflow:
            load_tensorflow()
        with counted("work"):
            main()
        shares = [f", {seconds[part]:.1f} s of them {part}'{'' if part.endswith('s') else 's'}" for part in PARTS if seconds[part]]
        print(f"took {seconds['work']:.1f} s{''.join(shares)}", flush=True)
    except LesionflowError as fault:
        _stop(str(fault), TRY_LATER if isinstance(fault, Unavailable) else 1)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing half-written was kept; `dvc repro` carries on from here", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except OSError as fault:
        if fault.errno not in DISK_FULL:
            raise
        _stop(f"the disk is full or a quota is reached ({fault.filename or Path.cwd()}): free some space and run `dvc repro` again")


def _stop(message: str, code: int = 1) -> None:
    for line in message.splitlines():
        print(f"error: {for_terminal(line)}", file=sys.stderr)
    raise SystemExit(code)
