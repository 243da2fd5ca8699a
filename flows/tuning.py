"""Run the tuning flow: search better settings of the head, then of fine-tuning, on validation or over folds, never on test.

`python -m flows.tuning` runs it immediately; no Prefect server is needed. With --workers or --cluster several processes share the study.
"""

import sys

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from components.core.paths import TUNING, TUNING_PLOTS
from components.core.reports.tuning import TuningReport
from flows import distribution, notifications, workspace
from flows.artifacts import Progress, publish_picture
from flows.distribution import Workers
from flows.immediate_run import run_once
from flows.processes import ROOT, Command, run_command
from flows.tasks import HOUR, MINUTE, RETRY_OPTIONS, bring_split_up_to_date, environment


@task(task_run_name="search", timeout_seconds=48 * HOUR, **RETRY_OPTIONS)
def search(threads: dict[str, str]) -> TuningReport:
    """Try settings until the studies have as many trials as `tuning` wants; an interrupted search goes on. `threads`: environment variable
    with their number."""
    command = Command([sys.executable, "-m", "components.tune"], "tune")
    run_command(command, Progress("tuning-progress"), {**environment(ROOT), **threads})
    return TuningReport.read(ROOT / TUNING)


@task(task_run_name="publish", timeout_seconds=5 * MINUTE, cache_policy=NO_CACHE)
def publish(report: TuningReport) -> None:
    """Publish the best setting beside the present one, and the pictures of the search."""
    create_table_artifact(
        key="tuning",
        table=[{"key": key, "best": str(value), "now": str(report.present[key])} for key, value in report.best.items()],
        description=f"best of {sum(report.counts.values())} trials by {report.objective}: {report.best_value:.3f}",
    )
    for path in sorted((ROOT / TUNING_PLOTS).glob("*.png")):
        name = path.stem.replace("_", "-")
        publish_picture(f"tuning-{name}", path, f"search: {name}")


@flow(name="tuning", log_prints=True, **notifications.HOOKS)
def tuning(workers: int = 0, threads: int = 0, cluster: bool = False) -> TuningReport:
    """Bring the split up to date, then search better settings. params.yaml is not changed.

    Args:
        workers: Number of processes that share the study; 0: one, with all cores.
        threads: Threads of each; 0: the machine's cores divided among them. The values depend on it in the last digits.
        cluster: The processes are workers of a Dask cluster on this machine (extra cluster).
    """
    sharing = Workers.requested(workers, threads, cluster)
    with workspace.lock(patience=-1):
        bring_split_up_to_date()
        sharing.run(distribution.run_trials, range(sharing.count))
        report = search(sharing.environment)
        publish(report)
    return report


def main() -> None:
    """Run the flow once; exit code 1 if it failed."""
    report = run_once(tuning, __doc__)
    print(f"best: {report.best_value:.3f} with {report.best}; `lesionflow tune apply` takes it over")


if __name__ == "__main__":
    main()
