"""MLflow runs: one per training phase and one per registered candidate.

A run is found by the model it produced (`model_sha256`), not by an ID in a file, so that a stage's outputs do not change between
repeated runs. A registered candidate has its own run, which also contains the curves: the phase's run may be missing from the store
(new database, lost connection).
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
from flatten_dict import flatten

from components.core.errors import LesionflowError
from components.runtime.timing import timed
from components.tracking.provenance import provenance
from components.tracking.store import connect, experiment_id, mlflow_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from components.core.reports.candidate import Candidate


@dataclass
class PhaseRun:
    """The MLflow run of a training phase. If the store becomes unavailable, training continues without it."""

    client: "MlflowClient"
    run_id: str
    disconnected: bool = field(default=False)

    def epoch(self, number: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of one epoch."""
        self._attempt(lambda: log_metrics(self.client, self.run_id, metrics, number))

    def finish(self, model_sha256: str, metrics: Mapping[str, float]) -> None:
        """Log the final metrics, tag the run with the model's hash, and end the run."""

        def end() -> None:
            log_metrics(self.client, self.run_id, metrics, 0)
            self.client.set_tag(self.run_id, "model_sha256", model_sha256)
            self.client.set_terminated(self.run_id, "FINISHED")

        if not self.disconnected:
            self._attempt(end)

    def __enter__(self) -> "PhaseRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            status = "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
            self._attempt(lambda: self.client.set_terminated(self.run_id, status))

    def _attempt(self, call: Any) -> None:
        if self.disconnected:
            return
        try:
            with timed("MLflow"), mlflow_errors("lost the connection to MLflow during training"):
                call()
        except LesionflowError as fault:
            self.disconnected = True
            print(f"warning: {fault}\nwarning: training continues; metrics are saved locally and uploaded at registration", file=sys.stderr)


def log_metrics(client: "MlflowClient", run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
    """Log the metrics of one step to a run."""
    import time

    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(name, float(value), now, step) for name, value in metrics.items()])


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, Any]) -> None:
    """Log nested params to a run, with dotted names."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in flatten(dict(params), reducer="dot").items()])


@timed("MLflow")
def start_phase_run(phase: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> PhaseRun:
    """Start a run for a training phase, before any training, so that an unavailable store is detected early.

    Raises:
        LesionflowError: the store does not respond.
    """
    client = connect()
    with mlflow_errors("MLflow rejected a new run"):
        came_from = provenance()
        run = client.create_run(experiment_id(client), run_name=run_name(phase, came_from), tags={"phase": phase, **came_from, **tags})
        log_params(client, run.info.run_id, params)
    return PhaseRun(client, str(run.info.run_id))


def run_name(what: str, came_from: Mapping[str, str]) -> str:
    """Name of a run: the DVC experiment if it is of one, what it is, when, and its data."""
    of_experiment = f"{came_from['dvc.experiment']} " if "dvc.experiment" in came_from else ""
    return f"{of_experiment}{what} {datetime.now(UTC):%Y-%m-%d %H:%M:%S} data {came_from['data.md5'][:7]}"


def run_of_model(client: "MlflowClient", model_sha256: str) -> str | None:
    """ID of the newest run that produced this model, or None."""
    found = client.search_runs(
        [experiment_id(client)], f"tags.model_sha256 = '{model_sha256}'", order_by=["attributes.start_time DESC"], max_results=1
    )
    return str(found[0].info.run_id) if found else None


@contextmanager
def candidate_run(client: "MlflowClient", candidate: "Candidate", params: Mapping[str, Any], curves: pd.DataFrame) -> Iterator[str]:
    """Start a run for one candidate, log params and curves of its phase, yield the run ID, and end the run.

    Each candidate has its own run, since candidates from one phase model can differ in their metrics. The tag `phase_run` is the ID
    of the phase's run, or "none" if it is not in this store.

    Args:
        client: client of the store.
        candidate: content of build/candidate/candidate.json.
        params: params of the phase (`Settings.logged`).
        curves: one row per epoch.
    """
    came_from, phase = provenance(), candidate.phase
    tags = {"phase": phase, "candidate": candidate.model_sha256, "phase_run": run_of_model(client, candidate.phase_sha256) or "none"}
    name = run_name(f"{phase} candidate", came_from)
    run_id = str(client.create_run(experiment_id(client), run_name=name, tags={**came_from, **tags}).info.run_id)
    status = "FAILED"
    try:
        log_params(client, run_id, params)
        for row in curves.to_dict("records"):
            log_metrics(client, run_id, {str(key): value for key, value in row.items() if key != "epoch"}, int(row["epoch"]))
        yield run_id
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        client.set_terminated(run_id, status)
