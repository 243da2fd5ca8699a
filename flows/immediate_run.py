"""Runs a flow at once, from the command line, whose work several processes can share."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TypeVar

from prefect.settings import get_current_settings

from components.core.errors import LesionflowError
from flows.distribution import DASK
from flows.processes import CommandFailed, free_port
from flows.serve import SIGNALS, SupervisedProcess, await_server, end

Result = TypeVar("Result")


def run_once(flow: Callable[[int, int, bool], Result], description: str | None) -> Result:
    """Run the flow with the options of the command line and return its result; exit with code 1 if it failed, 130 if it was interrupted.

    Args:
        flow: function of the number of processes, their threads, and whether they are a Dask cluster, as `distribution.Workers.requested`.
        description: text of --help.
    """
    given = _parse(description)
    count = given.workers or given.cluster
    if (count or os.environ.get(DASK)) and not get_current_settings().api.url:
        raise SystemExit(with_own_server([sys.executable, *sys.orig_argv[1:]]))
    try:
        return flow(count, given.threads, bool(given.cluster))
    except (CommandFailed, LesionflowError) as fault:
        print(f"\nerror: {fault}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def with_own_server(command: list[str]) -> int:
    """Run a command with a Prefect server that is started for it, and return its exit code.

    Processes that share work need a server: without, each would start one of its own for each task.
    """
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    server = SupervisedProcess("server", sys.executable, "-m", "flows.server", "--port", str(port))
    try:
        await_server(api)
        process = subprocess.Popen(command, env={**os.environ, "PREFECT_API_URL": api}, start_new_session=True)
        for number in SIGNALS:
            signal.signal(number, lambda received, _: process.send_signal(received))
        return process.wait()
    finally:
        end([server])


def _parse(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"The workers of the Dask cluster at {DASK} share the work where it is set.",
    )
    processes = parser.add_mutually_exclusive_group()
    processes.add_argument("--workers", type=_count, default=0, metavar="N", help="number of processes that share the work")
    processes.add_argument("--cluster", type=_count, default=0, metavar="N", help="the same as workers of a Dask cluster on this machine")
    parser.add_argument("--threads", type=_count, default=0, metavar="N", help="threads of each process (default: cores by processes)")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up")
    return int(text)
