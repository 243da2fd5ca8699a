"""MLflow runs of many trainings: a parent, and a child for each training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import LesionflowError
from components.tracking.provenance import provenance
from components.tracking.runs import log_metrics, log_params, run_name
from components.tracking.store import connect, experiment_id, mlflow_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARENT = "mlflow.parentRunId"
REJECTED = "MLflow rejected a run"


@dataclass(frozen=True)
class ParentRun:
    """A running parent.

    Attributes:
        client: of the store.
        run_id: its ID.
        came_from: its provenance, which its children share.
    """

    client: "MlflowClient"
    run_id: str
    came_from: Mapping[str, str]

    def add_child(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Log a training that has ended.

        Raises:
            LesionflowError: the store does not respond.
        """
        with mlflow_errors(REJECTED):
            run = self.client.create_run(experiment_id(self.client), run_name=name, tags={**self.came_from, PARENT: self.run_id})
            log_params(self.client, run.info.run_id, params)
            log_metrics(self.client, run.info.run_id, metrics)
            self.client.set_terminated(run.info.run_id, "FINISHED")

    def finish(self, metrics: Mapping[str, float], files: Mapping[Path, str]) -> None:
        """Log the figures of all trainings, and files or folders under the names of their folders in the run."""
        with mlflow_errors(REJECTED):
            log_metrics(self.client, self.run_id, metrics)
            for path, folder in files.items():
                log = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
                log(self.run_id, str(path), folder)


@contextmanager
def parent_run(kind: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[ParentRun]:
    """Start a parent run, yield it, and end it with the state of the block.

    Args:
        kind: what it is, for its name and the tag `kind`.
        params: logged with dotted names.
        tags: in addition to provenance.

    Raises:
        LesionflowError: the store does not respond.
    """
    client, came_from = connect(), provenance()
    with mlflow_errors(REJECTED):
        run = client.create_run(experiment_id(client), run_name=run_name(kind, came_from), tags={"kind": kind, **came_from, **tags})
        log_params(client, run.info.run_id, params)
    status = "FAILED"
    try:
        yield ParentRun(client, str(run.info.run_id), came_from)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        with _unless_lost(status), mlflow_errors(REJECTED):
            client.set_terminated(run.info.run_id, status)


@contextmanager
def _unless_lost(status: str) -> Iterator[None]:
    """Let an error of the store pass only if the block before it succeeded, whose own error matters more."""
    try:
        yield
    except LesionflowError:
        if status == "FINISHED":
            raise
