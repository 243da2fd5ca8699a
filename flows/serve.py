"""Start all of Prefect with one command, on one machine: a server on loopback, the deployments of prefect.yaml, and a worker.

If PREFECT_API_URL is set, that server is used and none is started. Ctrl-C ends everything started by this command; schedules stay in
the server's database and continue when it is started again.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from types import FrameType

import httpx
import psutil

from flows.deploy import deployments
from flows.processes import ROOT

PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
POLL_SECONDS = 2.0
RUNS_GRACE = 5.0
"""Seconds for runs to end and to report their state: longer than a stage has after an interrupt (`processes.GRACE`)."""
GRACE = 1.5
"""Seconds for server and worker to end, in parallel; with RUNS_GRACE less than the ten seconds of `docker stop`."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STARTUP_SECONDS = 120.0
"""Seconds for a server to respond on its first start with an empty database."""


class SupervisedProcess:
    """A child process that is restarted when it ends unexpectedly."""

    def __init__(self, name: str, *command: str) -> None:
        self.name, self._command = name, command
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, cwd=ROOT, start_new_session=True)

    def restart_if_ended(self) -> None:
        """Restart the process if it has ended."""
        if self._process.poll() is not None:
            print(f"the {self.name} ended with exit code {self._process.returncode}; restarting it", flush=True)
            self._process = self._start()

    def family(self) -> list[psutil.Process]:
        """The process followed by all its descendants; empty if it has ended."""
        try:
            process = psutil.Process(self._process.pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def end(children: list[SupervisedProcess]) -> None:
    """End the runs first, while the server can still receive their state, then all children, and kill the remaining processes."""
    families = [family for child in children if (family := child.family())]
    _end([process for own, *started in families for process in started if _parent(process) == own.pid], RUNS_GRACE)
    _end([own for own, *_ in families], GRACE)
    for process in [process for family in families for process in family]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _parent(process: psutil.Process) -> int | None:
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return None


def _end(processes: list[psutil.Process], seconds: float) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    psutil.wait_procs(processes, seconds)


def answers(api: str) -> bool:
    """Return whether a Prefect server responds at this address."""
    try:
        return httpx.get(f"{api}/health", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def await_server(api: str) -> None:
    """Wait until the server responds.

    Raises:
        SystemExit: it does not respond within two minutes.
    """
    end = time.monotonic() + STARTUP_SECONDS
    while not answers(api):
        if time.monotonic() > end:
            raise SystemExit(f"error: no Prefect server responds at {api}")
        time.sleep(0.5)


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt once; further signals are ignored during shutdown, since `timeout` sends two and users press Ctrl-C twice."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def main() -> None:
    """Start the missing processes, and keep them running until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=4200, help="port of the server on 127.0.0.1 (default: %(default)s)")
    given = parser.parse_args()
    own = "PREFECT_API_URL" not in os.environ
    api = os.environ.setdefault("PREFECT_API_URL", f"http://127.0.0.1:{given.port}/api")
    if own and answers(api):
        own = False
        print(f"using the Prefect server that is already running at {api}")
    elif own and _taken(given.port):
        raise SystemExit(f"error: port {given.port} is used by another program. Choose a free port with --port.")
    children: list[SupervisedProcess] = []
    try:
        for each in SIGNALS:  # a shell starts background jobs with SIGINT ignored; the worker would inherit that and never end
            signal.signal(each, _interrupt)
        if own:
            children.append(SupervisedProcess("server", sys.executable, "-m", "flows.server", "--port", str(given.port)))
        await_server(api)
        # The deployments in the database of this project's own server belong to this project, even if it was moved.
        replace = ["--replace"] if own and DATABASE not in os.environ else []
        subprocess.run([sys.executable, "-m", "flows.deploy", *replace], cwd=ROOT, check=True)
        pools = sorted({item["work_pool"]["name"] for item in deployments()})
        children += [SupervisedProcess(f"worker of {pool}", *PREFECT, "worker", "start", "--pool", pool) for pool in pools]
        while True:
            time.sleep(POLL_SECONDS)
            for child in children:
                child.restart_if_ended()
    except KeyboardInterrupt:
        print("\nshutting down; schedules are kept", flush=True)
    except subprocess.CalledProcessError as fault:
        raise SystemExit(fault.returncode) from None
    finally:
        end(children)


if __name__ == "__main__":
    main()
