"""MLflow: where the store is, one run per training phase, and how a model's run is found again.

A run is found by what it made (`model_sha256`), not by an id in a file: so a stage's outputs stay the same however often
it runs. A registered candidate has a run of its own, which also holds the curves: the phase's run may be in no store (a new
database, a lost connection).
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from components.errors import LesionflowError, Unavailable
from components.escaping import sqlite_uri
from components.paths import DATA_POINTER
from components.relocation import relocate
from components.stage import counted

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "skin-lesions"
LOCAL_STORE = Path("mlruns")
URI = "MLFLOW_TRACKING_URI"
TRANSIENT = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED")
"""MLflow's codes for a lost connection, a locked database and too many requests."""
ARTIFACT_ROOT = "MLFLOW_DEFAULT_ARTIFACT_ROOT"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
FLOW_RUN = "LESIONFLOW_FLOW_RUN"
"""Set by the Prefect flow, so that a stage's MLflow run names the flow run it was part of."""

DECIDING = (
    "components",
    "flows",
    "app",
    "dvc.yaml",
    "params.yaml",
    "decisions.csv",
    "*.dvc",
    "prefect.*",
    "pyproject.toml",
    "requirements.lock",
)
"""Paths for git that decide what a run makes: code, params and pointers; what a run writes itself (dvc.lock, reports/) is not here."""


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


def provenance() -> dict[str, str]:
    """Tags for code, data and flow run: git commit, whether files in DECIDING differ from it, md5 of data/, flow run."""
    dirty = bool(_git("status", "--porcelain", "--", *DECIDING))
    tags = {"git.commit": _git("rev-parse", "HEAD") or "none", "git.dirty": str(dirty).lower()}
    tags["data.md5"] = _data_md5(DATA_POINTER) or "untracked"
    if os.environ.get(FLOW_RUN):
        tags["prefect.flow_run"] = os.environ[FLOW_RUN]
    return tags


def _git(*command: str) -> str:
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _data_md5(pointer: Path) -> str | None:
    if not pointer.exists():
        return None
    outs = (yaml.safe_load(pointer.read_text(encoding="utf-8")) or {}).get("outs") or [{}]
    return outs[0].get("md5")


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings or figures as dotted keys."""
    rows: dict[str, Any] = {}
    for key, value in document.items():
        rows |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return rows


@dataclass
class PhaseRun:
    """One MLflow run for one training phase. A store that goes away while a model trains does not cost the model."""

    client: "MlflowClient"
    run_id: str
    lost: bool = field(default=False)

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        """Log the curves' points of one epoch."""
        self._attempt(lambda: log_figures(self.client, self.run_id, figures, number))

    def finish(self, model_sha256: str, figures: Mapping[str, float]) -> None:
        """Name the model that came out, and end the run."""

        def end() -> None:
            log_figures(self.client, self.run_id, figures, 0)
            self.client.set_tag(self.run_id, "model_sha256", model_sha256)
            self.client.set_terminated(self.run_id, "FINISHED")

        if not self.lost:
            self._attempt(end)

    def __enter__(self) -> "PhaseRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            status = "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
            self._attempt(lambda: self.client.set_terminated(self.run_id, status))

    def _attempt(self, call: Any) -> None:
        if self.lost:
            return
        try:
            with counted("MLflow"), told("MLflow went away while the model trains"):
                call()
        except LesionflowError as fault:
            self.lost = True
            print(
                f"warning: {fault}\nwarning: training goes on; its curves are kept and logged when the model is registered", file=sys.stderr
            )


def log_figures(client: "MlflowClient", run_id: str, figures: Mapping[str, float], step: int = 0) -> None:
    """Log figures of one step into a run."""
    import time

    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(name, float(value), now, step) for name, value in figures.items()])


@counted("MLflow")
def start_phase(phase: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> PhaseRun:
    """Open a run for a training phase, before any work is done, so that a store that is down costs nothing.

    Raises:
        LesionflowError: the store does not answer.
    """
    client = connect()
    with told("MLflow refused a new run"):
        came_from = provenance()
        name = f"{phase} {datetime.now(UTC):%Y-%m-%d %H:%M:%S} data {came_from['data.md5'][:7]}"
        run = client.create_run(experiment_id(client), run_name=name, tags={"phase": phase, **came_from, **tags})
        from mlflow.entities import Param

        client.log_batch(run.info.run_id, params=[Param(name, str(value)) for name, value in flat(params).items()])
    return PhaseRun(client, str(run.info.run_id))


def run_of_model(client: "MlflowClient", model_sha256: str) -> str | None:
    """Id of the newest run that made this model, or None."""
    found = client.search_runs(
        [experiment_id(client)], f"tags.model_sha256 = '{model_sha256}'", order_by=["attributes.start_time DESC"], max_results=1
    )
    return str(found[0].info.run_id) if found else None


@contextmanager
def candidate_run(client: "MlflowClient", card: Mapping[str, Any], params: Mapping[str, Any], curves: pd.DataFrame) -> Iterator[str]:
    """A new run for one candidate, with the curves of the phase that trained it; yields its id, and ends it.

    Each candidate has a run of its own: candidates of one phase model differ in what they measured. The tag `phase_run` names the
    run of the phase, or says none where this store does not hold it.

    Args:
        client: of the store.
        card: build/candidate/candidate.json.
        params: what decided the phase (`Settings.logged`).
        curves: a row per epoch.
    """
    from mlflow.entities import Param

    came_from, phase = provenance(), str(card["phase"])
    tags = {"phase": phase, "candidate": card["model_sha256"], "phase_run": run_of_model(client, card["phase_sha256"]) or "none"}
    name = f"{phase} candidate {datetime.now(UTC):%Y-%m-%d %H:%M:%S} data {came_from['data.md5'][:7]}"
    run_id = str(client.create_run(experiment_id(client), run_name=name, tags={**came_from, **tags}).info.run_id)
    status = "FAILED"
    try:
        client.log_batch(run_id, params=[Param(key, str(value)) for key, value in flat(params).items()])
        for row in curves.to_dict("records"):
            log_figures(client, run_id, {str(key): value for key, value in row.items() if key != "epoch"}, int(row["epoch"]))
        yield run_id
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        client.set_terminated(run_id, status)
