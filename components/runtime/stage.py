"""The command line of every stage: --help, one-line errors, exit codes."""

import argparse
import errno
import logging
import os
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from components.core.errors import LesionflowError, ServiceUnavailable
from components.core.escaping import for_terminal
from components.runtime import environment
from components.runtime.tensorflow import load_tensorflow
from components.runtime.timing import OVERHEAD, seconds, timed

environment.prepare()

INTERRUPTED = 130  # what shells report for Ctrl-C
TRY_LATER = os.EX_TEMPFAIL
SHUTDOWN_SECONDS = 20.0  # seconds to shut down after an interrupt
STARTED_BY_DVC = "DVC_STAGE"
"""Environment variable that DVC sets for the commands of stages."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def exit_when_stdout_closes() -> None:
    """Interrupt this process when its stdout pipe is closed.

    When a flow is killed, its stage would otherwise continue and hold DVC's lock. Only pipes are watched: a terminal sends its own
    signal, and a file is never closed by a reader.
    """
    if not stat.S_ISFIFO(os.fstat(1).st_mode):
        return

    def closed() -> None:
        reader = select.poll()
        reader.register(1, 0)  # no event is requested: poll always reports POLLERR, which means that the pipe has no reader
        reader.poll()

    _interrupt_after(closed)


def exit_when_dvc_ends() -> None:
    """Interrupt this process when the DVC that started it ends.

    When DVC is killed, its stage would otherwise continue, and the next `dvc repro` would start the same stage beside it.
    """
    if STARTED_BY_DVC not in os.environ:
        return
    dvc = os.getppid()

    def ended() -> None:
        while os.getppid() == dvc:
            time.sleep(1)

    _interrupt_after(ended)


def _interrupt_after(event: Callable[[], None]) -> None:
    """Wait for the event in a thread of its own, then interrupt this process; exit if it does not end by itself."""

    def watch() -> None:
        event()
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(SHUTDOWN_SECONDS)
        os._exit(INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()


def run(main: Callable[[], object], description: str, *, tensorflow: bool = False) -> None:
    """Run a stage and exit: 0 success, 1 user error, 2 wrong usage, 75 temporary failure, 130 interrupted.

    A stage takes no options: its parameters are in params.yaml, where DVC tracks them. `tensorflow`: import TensorFlow first.
    """
    argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Run it from the project's root. All parameters are in params.yaml.",
    ).parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with it ignored
    exit_when_stdout_closes()
    exit_when_dvc_ends()
    try:
        if tensorflow:
            load_tensorflow()
        with timed("work"):
            main()
        shares = [f", including {seconds[part]:.1f} s for {part}" for part in OVERHEAD if seconds[part]]
        print(f"took {seconds['work']:.1f} s{''.join(shares)}", flush=True)
    except LesionflowError as fault:
        _stop(str(fault), TRY_LATER if isinstance(fault, ServiceUnavailable) else 1)
    except KeyboardInterrupt:
        print("\ninterrupted: incomplete outputs were discarded. Run `dvc repro` to continue.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except OSError as fault:
        if fault.errno not in DISK_FULL:
            raise
        _stop(f"the disk is full or a quota is reached ({fault.filename or Path.cwd()}). Free some space and run `dvc repro` again.")


def _stop(message: str, code: int = 1) -> None:
    for line in message.splitlines():
        print(f"error: {for_terminal(line)}", file=sys.stderr)
    raise SystemExit(code)
