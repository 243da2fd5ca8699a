"""One run per training phase, one per registered candidate, and how a model's run is found again.

A run is found by what it made (`model_sha256`), not by an id in a file: so a stage's outputs stay the same however often
it runs. A registered candidate has a run of its own, which also holds the curves: the phase's run may be in no store (a new
database, a lost connection).
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from components.core.errors import LesionflowError
from components.runtime.timing import counted
from components.tracking.provenance import provenance
from components.tracking.store import connect, experiment_id, told

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from components.core.reports.candidate import Candidate


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
def candidate_run(client: "MlflowClient", candidate: "Candidate", params: Mapping[str, Any], curves: pd.DataFrame) -> Iterator[str]:
    """A new run for one candidate, with the curves of the phase that trained it; yields its id, and ends it.

    Each candidate has a run of its own: candidates of one phase model differ in what they measured. The tag `phase_run` names the
    run of the phase, or says none where this store does not hold it.

    Args:
        client: of the store.
        candidate: build/candidate/candidate.json.
        params: what decided the phase (`Settings.logged`).
        curves: a row per epoch.
    """
    from mlflow.entities import Param

    came_from, phase = provenance(), candidate.phase
    tags = {"phase": phase, "candidate": candidate.model_sha256, "phase_run": run_of_model(client, candidate.phase_sha256) or "none"}
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
