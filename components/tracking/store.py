"""MLflow's store: where it is, how it is connected to, and what its errors mean to a person."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import LesionflowError, Unavailable
from components.core.escaping import sqlite_uri
from components.runtime import environment
from components.tracking.relocation import relocate

if TYPE_CHECKING:
    from mlflow import MlflowClient

environment.prepare()

EXPERIMENT = "skin-lesions"
LOCAL_STORE = Path("mlruns")
URI = "MLFLOW_TRACKING_URI"
TRANSIENT = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED")
"""MLflow's codes for a lost connection, a locked database and too many requests."""
ARTIFACT_ROOT = "MLFLOW_DEFAULT_ARTIFACT_ROOT"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def store_uri() -> str:
    """MLFLOW_TRACKING_URI, or the project's own database under mlruns/."""
    return os.environ.get(URI) or sqlite_uri(LOCAL_STORE / "mlflow.db")


def connect() -> "MlflowClient":
    """A client whose store answers.

    Raises:
        LesionflowError: it does not, or is locked.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import logging

    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    LOCAL_STORE.mkdir(exist_ok=True)
    uri = store_uri()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with told(f"MLflow's store {_without_password(uri)} does not answer"):
        _follow_move(uri)
        client = mlflow.MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
    return client


def _follow_move(uri: str) -> None:
    """Have a database in a folder mlruns/ name the artifacts next to it, also where that folder was moved or copied."""
    import sqlite3

    from sqlalchemy.engine import make_url

    url = make_url(uri) if uri.startswith("sqlite") else None
    database = Path(url.database) if url is not None and url.database else None
    if database is None or database.parent.name != LOCAL_STORE.name or not database.is_file():
        return
    try:
        moved = relocate(database)
    except sqlite3.OperationalError as fault:
        raise Unavailable(f"MLflow's store {uri}: {fault}\n{_way_out()}") from None
    for location in moved:
        print(f"MLflow's artifacts were in {location}; the store now names {database.parent / 'artifacts'}", file=sys.stderr)


class told:
    """Turn what MLflow and its database raise into one line that says what to do.

    Raises:
        Unavailable: the store did not answer or was locked.
        LesionflowError: it refused.
    """

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, fault: BaseException | None, _: object) -> None:
        if fault is None:
            return
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import OperationalError, SQLAlchemyError

        if isinstance(fault, MlflowException | SQLAlchemyError | RequestException):
            transient = isinstance(fault, RequestException | OperationalError) or getattr(fault, "error_code", None) in TRANSIENT
            kind = Unavailable if transient else LesionflowError
            raise kind(f"{self._what}: {_reason(fault)}\n{_way_out()}") from None


def _reason(fault: BaseException) -> str:
    lines = [line for line in str(fault).splitlines() if line.strip() and not line.startswith("[SQL")]
    return lines[0][:300] if lines else type(fault).__name__


def _way_out() -> str:
    """What to do, by the kind of store: whether the variable is set says nothing, since MLflow sets it for its own children."""
    if not store_uri().startswith("sqlite"):
        return f"start the server, or unset {URI} to use the project's own store; finished stages are kept, `dvc repro` carries on"
    return "close what holds mlruns/mlflow.db open (another run, an MLflow server) and run `dvc repro` again; finished stages are kept"


def _without_password(uri: str) -> str:
    head, at, tail = uri.rpartition("@")
    return f"{head.rpartition(':')[0]}:***@{tail}" if at and head.count(":") > 1 else uri


def experiment_id(client: "MlflowClient", name: str = EXPERIMENT) -> str:
    """The experiment's id; made on first use.

    Raises:
        LesionflowError: it was deleted in MLflow's page.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifact_root()))
        except MlflowException as fault:
            found = client.get_experiment_by_name(name) if fault.error_code == "RESOURCE_ALREADY_EXISTS" else None
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise LesionflowError(
            f"MLflow's experiment {name} was deleted: bring it back with"
            f" `MLFLOW_TRACKING_URI='{_without_password(store_uri())}' mlflow experiments restore --experiment-id {found.experiment_id}`"
        )
    return str(found.experiment_id)


def artifact_root() -> str | None:
    """Where a new experiment keeps its artifacts; None where a server decides.

    A database has no place for files. So with one as store it is MLFLOW_DEFAULT_ARTIFACT_ROOT, which MLflow's own server reads
    too, or else mlruns/artifacts under the project, by its absolute path: MLflow's default depends on the directory.
    """
    if store_uri().partition(":")[0].partition("+")[0] not in DATABASES:
        return None
    root = os.environ.get(ARTIFACT_ROOT) or str(LOCAL_STORE / "artifacts")
    return root if "://" in root else Path(root).resolve().as_uri()
