"""The database of studies: SQLite in the project, or another one that searches on several machines share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from components.core.errors import LesionflowError, ServiceUnavailable, first_line
from components.core.escaping import sqlite_uri

if TYPE_CHECKING:
    import optuna
    from sqlalchemy.engine import URL

DATABASE = Path("build/tuning/studies.db")
VARIABLE = "LESIONFLOW_STUDY_URL"
"""Variable with the URL of another database, as postgresql://..., which searches on several machines share."""
HEARTBEAT, GRACE = 15, 60
"""Seconds between two signs of life of a running trial, and without one after which another search takes it over."""
RETRIES = 3
LOCKED_SECONDS, CONNECT_SECONDS = 60, 20
"""For which a search waits for a locked SQLite file, and for a PostgreSQL server that does not answer."""
OPENING = 1_279_873_615
"""Key of the advisory lock in PostgreSQL; any number that nothing else in the database uses."""
EXPECTED = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special characters of the password as %XX"


def database_url() -> "URL":
    """The URL in LESIONFLOW_STUDY_URL, or that of the project's own database.

    Raises:
        LesionflowError: it is not a URL, or its driver is not installed. The message does not quote it, since it may hold a password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    given = os.environ.get(VARIABLE)
    if not given:
        return make_url(sqlite_uri(DATABASE))
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        url = None
    if url is None or given.count("@") > 1:  # a password with @ is cut there, and its rest is shown as the host
        raise LesionflowError(f"{VARIABLE} is not the URL of a database. Write it as {EXPECTED}.")
    try:
        asynchronous = url.get_dialect().is_async
        url.get_dialect().import_dbapi()
    except (ArgumentError, ImportError):
        asynchronous = True
    if asynchronous:
        raise LesionflowError(f"{VARIABLE} names {url.drivername}://, for which there is no driver here. Write it as {EXPECTED}.")
    return url


def require_database() -> None:
    """Check that the database can be opened, before a search prepares anything.

    Raises:
        LesionflowError: see `database_url`.
        ServiceUnavailable: the database does not respond.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    url = database_url()
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    with database_errors(), create_engine(url, poolclass=NullPool, connect_args=_connect_options(url)).connect():
        pass


def open_storage() -> "optuna.storages.RDBStorage":
    """Open the database for Optuna. A connection that the server has closed in the meantime is replaced."""
    import optuna

    url = database_url()
    return optuna.storages.RDBStorage(
        url.render_as_string(hide_password=False),
        engine_kwargs={"connect_args": _connect_options(url), "pool_pre_ping": url.get_backend_name() != "sqlite"},
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
        heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
    )


def _connect_options(url: "URL") -> dict[str, int]:
    """Options of the driver that limit how long a connection waits."""
    return {"sqlite": {"timeout": LOCKED_SECONDS}, "postgresql": {"connect_timeout": CONNECT_SECONDS}}.get(url.get_backend_name(), {})


@contextmanager
def opening_alone() -> Iterator[None]:
    """Let one search at a time open a study: a lock on a file and, in PostgreSQL, one for searches on other machines."""
    from sqlalchemy import create_engine, func, select
    from sqlalchemy.pool import NullPool

    url = database_url()
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(DATABASE.with_suffix(".lock")):
        if url.get_backend_name() != "postgresql":
            yield
            return
        with create_engine(url, poolclass=NullPool, connect_args=_connect_options(url)).connect() as connection:
            connection.execute(select(func.pg_advisory_lock(OPENING)))  # until the connection is closed
            yield


@contextmanager
def database_errors() -> Iterator[None]:
    """Convert errors of the database to a user error that says where it is, without its password.

    Raises:
        ServiceUnavailable: the database does not respond, is locked or refuses.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as fault:
        raise ServiceUnavailable(_message(fault)) from None


def _message(fault: BaseException) -> str:
    cause = fault.__cause__ if fault.__cause__ is not None and not hasattr(fault, "orig") else fault
    reason = first_line(getattr(cause, "orig", None) or cause)
    if not os.environ.get(VARIABLE):
        return f"the database of the search, {DATABASE}, cannot be used: {reason}. Close the process that uses it, and search again."
    password = database_url().password
    shown = reason.replace(str(password), "***") if password else reason
    return f"the database of the search cannot be used: {shown}. Check {VARIABLE}; trials that have ended are kept."
