"""Connects to MLflow's store and converts its errors to user errors."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import LesionflowError, ServiceUnavailable
from components.core.escaping import sqlite_uri
from components.runtime import environment, experiment
from components.tracking.relocation import relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

environment.prepare()

EXPERIMENT = "skin-lesions"
LOCAL_STORE = "mlruns"
"""Folder of the project's own store."""
URI = "MLFLOW_TRACKING_URI"
TRANSIENT = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED")
"""MLflow's codes for a lost connection, a locked database and too many requests."""
ARTIFACT_ROOT = "MLFLOW_DEFAULT_ARTIFACT_ROOT"
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tag with which MLflow opens an experiment on its runs; without it, on its page for language models."""
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def local_store() -> Path:
    """Folder mlruns/ of the project, also where a DVC experiment runs in a copy of it."""
    return experiment.project_root() / LOCAL_STORE


def store_uri() -> str:
    """Value of MLFLOW_TRACKING_URI, or URI of the project's own database in mlruns/."""
    return os.environ.get(URI) or sqlite_uri(local_store() / "mlflow.db")


def connect() -> "MlflowClient":
    """Connect to the store and check that it responds.

    Raises:
        LesionflowError: the store does not respond, or is locked.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import logging

    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = store_uri()
    if uri.startswith("sqlite"):
        _require_databases(uri)
        if not os.environ.get(URI):
            local_store().mkdir(exist_ok=True)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with mlflow_errors(f"MLflow's store {_without_password(uri)} does not respond"):
        _follow_move(uri)
        client = mlflow.MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
    return client


def _require_databases(uri: str) -> None:
    """Stop where the light MLflow of a service is installed, which reads no database.

    Raises:
        LesionflowError: always there.
    """
    if find_spec("sqlalchemy") is None:
        raise LesionflowError(
            f"MLflow's store {uri} cannot be asked here, where only what a service needs is installed. Name an MLflow server in {URI},"
            " or install lesionflow[pipeline]"
        )


def _follow_move(uri: str) -> None:
    """Update the artifact locations of a database in a folder mlruns/ after that folder was moved or copied."""
    if not uri.startswith("sqlite"):
        return
    import sqlite3

    from sqlalchemy.engine import make_url

    url = make_url(uri)
    database = Path(url.database) if url.database else None
    if database is None or database.parent.name != LOCAL_STORE or not database.is_file():
        return
    try:
        moved = relocate(database)
    except sqlite3.OperationalError as fault:
        raise ServiceUnavailable(f"MLflow's store {uri}: {fault}\n{_hint()}") from None
    for location in moved:
        print(f"MLflow's artifacts were in {location}; the store now refers to {database.parent / 'artifacts'}", file=sys.stderr)


@contextmanager
def mlflow_errors(message: str) -> Iterator[None]:
    """Convert errors of MLflow and its database to a user error that starts with `message` and ends with what to do.

    Raises:
        ServiceUnavailable: the store did not respond or was locked.
        LesionflowError: the store rejected the request.
    """
    try:
        yield
    except Exception as fault:
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException

        of_database, lost_connection = _database_errors()
        if not isinstance(fault, (MlflowException, RequestException, *of_database)):
            raise
        transient = isinstance(fault, (RequestException, *lost_connection)) or getattr(fault, "error_code", None) in TRANSIENT
        kind = ServiceUnavailable if transient else LesionflowError
        raise kind(f"{message}: {_reason(fault)}\n{_hint()}") from None


def _database_errors() -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """What a database raises, and what of it tells that it does not respond; nothing where no database can be used."""
    try:
        from sqlalchemy.exc import OperationalError, SQLAlchemyError
    except ImportError:
        return (), ()
    return (SQLAlchemyError,), (OperationalError,)


def _reason(fault: BaseException) -> str:
    lines = [line for line in str(fault).splitlines() if line.strip() and not line.startswith("[SQL")]
    return lines[0][:300] if lines else type(fault).__name__


def _hint() -> str:
    """What to do, by the kind of store; the variable itself is not checked, since MLflow sets it for its own child processes."""
    if not store_uri().startswith("sqlite"):
        return f"Start the server, or unset {URI} to use the project's own store. Finished stages are kept; run `dvc repro` to continue."
    return "Close the process that uses mlruns/mlflow.db (another run, an MLflow server) and run `dvc repro`. Finished stages are kept."


def _without_password(uri: str) -> str:
    head, at, tail = uri.rpartition("@")
    return f"{head.rpartition(':')[0]}:***@{tail}" if at and head.count(":") > 1 else uri


def experiment_id(client: "MlflowClient", name: str = EXPERIMENT) -> str:
    """ID of the experiment, which is created on first use, with a tag that makes MLflow open it on its runs.

    Raises:
        LesionflowError: it was deleted in the MLflow UI.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifact_root(), tags=KIND))
        except MlflowException as fault:
            found = client.get_experiment_by_name(name) if fault.error_code == "RESOURCE_ALREADY_EXISTS" else None
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise LesionflowError(
            f"MLflow's experiment {name} was deleted. Restore it with"
            f" `MLFLOW_TRACKING_URI='{_without_password(store_uri())}' mlflow experiments restore --experiment-id {found.experiment_id}`"
        )
    for key, value in KIND.items():
        if key not in found.tags:
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def artifact_root() -> str | None:
    """Artifact location of a new experiment; None if a server decides.

    A database cannot store files. With a database as store, the location is MLFLOW_DEFAULT_ARTIFACT_ROOT, which MLflow's own server
    reads too, or the absolute path of mlruns/artifacts in the project, since MLflow's default depends on the current directory.
    """
    if store_uri().partition(":")[0].partition("+")[0] not in DATABASES:
        return None
    root = os.environ.get(ARTIFACT_ROOT) or str(local_store() / "artifacts")
    return root if "://" in root else Path(root).resolve().as_uri()
