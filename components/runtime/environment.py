"""What every command needs of the environment it was started in, and changes for itself and its children, before anything else."""

import getpass
import os
import sys

LOOPBACK = ("127.0.0.1", "localhost", "::1")
NO_PROXY = ("NO_PROXY", "no_proxy")


def prepare() -> None:
    """Stop on a platform that is not supported; reach servers on this machine directly, even if a proxy is configured; name the user.

    A container's arbitrary user id has no name, which getpass, and DVC with it, answers with an error.
    """
    if os.name != "posix":
        print("error: Lesionflow runs on Linux and macOS. On Windows, run it in WSL (`wsl --install`).", file=sys.stderr)
        raise SystemExit(1)
    value = without_proxy(os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "")
    os.environ.update(dict.fromkeys(NO_PROXY, value))
    try:
        getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        os.environ["LOGNAME"] = f"user id {os.getuid()}"


def without_proxy(value: str) -> str:
    """The list NO_PROXY with this machine's loopback names added; `*`, which is every host, stays as it is."""
    hosts = [host for item in value.split(",") if (host := item.strip())]
    return value if "*" in hosts else ",".join([*hosts, *(name for name in LOOPBACK if name not in hosts)])
