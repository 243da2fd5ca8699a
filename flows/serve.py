"""All of Prefect in one command, for a small lab: a server on loopback, the deployments of prefect.yaml, a worker.

Where PREFECT_API_URL names a server, that one is used and none is started. Ctrl-C ends everything that this started;
schedules stay with the server's database and go on when it is started again.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from types import FrameType

import httpx
import psutil

from flows.deploy import deployments
from flows.runner import ROOT

PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
PAUSE = 2.0
GRACE = 40.0
"""Seconds a run has to end in: longer than a stage has, once interrupted."""
START = 120.0
"""Seconds a server has to answer in, on its first start with an empty database."""


class Supervised:
    """A child process that is started again when it ends by itself."""

    def __init__(self, name: str, *command: str) -> None:
        self.name, self._command = name, command
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, cwd=ROOT, start_new_session=True)

    def restart_if_ended(self) -> None:
        """Start it again where it has ended."""
        if self._process.poll() is not None:
            print(f"the {self.name} ended with {self._process.returncode}: starting it again", flush=True)
            self._process = self._start()

    def stop(self) -> None:
        """End it and the runs it has at work, which the server is told of before it is ended itself."""
        family = psutil.Process(self._process.pid).children() if self._process.poll() is None else []
        for process in family:
            process.terminate()
        psutil.wait_procs(family, GRACE)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()


def answers(api: str) -> bool:
    """Whether a Prefect server answers at this address."""
    try:
        return httpx.get(f"{api}/health", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def await_server(api: str) -> None:
    """Wait until the server answers.

    Raises:
        SystemExit: it does not within two minutes.
    """
    end = time.monotonic() + START
    while not answers(api):
        if time.monotonic() > end:
            raise SystemExit(f"error: no Prefect server answers at {api}")
        time.sleep(0.5)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(number)


def main() -> None:
    """Start what is missing, and keep it running until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=4200, help="of the server, on 127.0.0.1 (default: %(default)s)")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    own = "PREFECT_API_URL" not in os.environ
    api = os.environ.setdefault("PREFECT_API_URL", f"http://127.0.0.1:{given.port}/api")
    if own and answers(api):
        own = False
        print(f"a Prefect server answers at {api} already: using it")
    children: list[Supervised] = []
    try:
        if own:
            children.append(Supervised("server", *PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(given.port)))
        await_server(api)
        subprocess.run([sys.executable, "-m", "flows.deploy"], cwd=ROOT, check=True)
        pools = sorted({item["work_pool"]["name"] for item in deployments()})
        children += [Supervised(f"worker of {pool}", *PREFECT, "worker", "start", "--pool", pool) for pool in pools]
        while True:
            time.sleep(PAUSE)
            for child in children:
                child.restart_if_ended()
    except KeyboardInterrupt:
        print("\nending; the schedules stay", flush=True)
    except subprocess.CalledProcessError as fault:
        raise SystemExit(fault.returncode) from None
    finally:
        for child in reversed(children):
            child.stop()


if __name__ == "__main__":
    main()
