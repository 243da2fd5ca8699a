"""A PostgreSQL server for tests; they are skipped if it is not installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.processes import free_port


def programs() -> Path | None:
    """The folder of the PostgreSQL server programs, which Debian does not put on the PATH; None if they are not installed."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return installed[-1].parent if installed else Path(on_path).parent if on_path else None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A PostgreSQL server on a free port of 127.0.0.1. Yields `user@host:port`.

    Its databases are `prefect`, `mlflow`, `study`, and `guarded`, which asks for a password that no user has.
    """
    binaries = programs()
    if binaries is None:
        pytest.skip("The PostgreSQL server is not installed (Debian: apt-get install postgresql)")
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and the user postgres does not exist")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postgresql") as folder:
        if user:
            shutil.chown(folder, user)
        data = Path(folder) / "data"

        def run(*command: str) -> None:
            done = subprocess.run(command, cwd=folder, user=user, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

        run(str(binaries / "initdb"), "-D", str(data), "-U", "lesionflow", "--auth=trust", "--no-sync")
        rules = data / "pg_hba.conf"
        rules.write_text(f"host guarded all 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        log = Path(folder) / "log"
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        run(str(binaries / "pg_ctl"), "-D", str(data), "-l", str(log), "-w", "-o", options, "start")
        try:
            for name in ("prefect", "mlflow", "study", "guarded"):
                run(str(binaries / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "lesionflow", name)
            yield f"lesionflow@127.0.0.1:{port}"
        finally:
            run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
