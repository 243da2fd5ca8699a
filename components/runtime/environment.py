"""Checks and adapts the process environment before a command does anything else; child processes inherit the changes."""

import gc
import getpass
import os
import sys

LOOPBACK = ("127.0.0.1", "localhost", "::1")
NO_PROXY = ("NO_PROXY", "no_proxy")
FLOW_RUN = "LESIONFLOW_FLOW_RUN"
"""Environment variable set by the Prefect flow; a stage's MLflow run is tagged with it."""
THREADS = "LESIONFLOW_THREADS"
"""Environment variable with the number of TensorFlow's threads; default: one for each core that this process may use. Equal inputs give
bit-identical outputs with equal numbers of threads."""
GARBAGE_THRESHOLD = 50_000
"""Allocations after which Python looks for garbage. With its 700, that is a sixth of the time that TensorFlow, MLflow or Great Expectations
take to be imported, and it finds nothing: what an import makes is kept."""


def prepare() -> None:
    """Exit on an unsupported platform, bypass proxies for servers on this machine, set a user name if there is none, and let Python look
    for garbage less often.

    A container's arbitrary user ID has no name, and getpass, which DVC calls, raises an error for it.
    """
    if os.name != "posix":
        print("error: Lesionflow runs on Linux and macOS. On Windows, run it in WSL (`wsl --install`).", file=sys.stderr)
        raise SystemExit(1)
    gc.set_threshold(GARBAGE_THRESHOLD)
    value = without_proxy(os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "")
    os.environ.update(dict.fromkeys(NO_PROXY, value))
    try:
        getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        os.environ["LOGNAME"] = f"user id {os.getuid()}"


def without_proxy(value: str) -> str:
    """Add this machine's loopback names to the value of NO_PROXY; a value with `*`, which means every host, is returned unchanged."""
    hosts = [host for item in value.split(",") if (host := item.strip())]
    return value if "*" in hosts else ",".join([*hosts, *(name for name in LOOPBACK if name not in hosts)])
