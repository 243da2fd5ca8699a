"""Run the cross-validation flow: the settings of params.yaml on folds of the training and validation images, never on test.

`python -m flows.cross_validation` runs it immediately; no Prefect server is needed. With --workers or --cluster several processes share the
folds.
"""

import sys

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from components.core.paths import CROSS_VALIDATION, CROSS_VALIDATION_PLOTS
from components.core.reports.cross_validation import CrossValidation
from components.runtime import params_file
from flows import distribution, notifications, workspace
from flows.artifacts import Progress, publish_picture
from flows.distribution import Workers
from flows.immediate_run import run_once
from flows.processes import ROOT, Command, run_command
from flows.tasks import HOUR, MINUTE, RETRY_OPTIONS, bring_split_up_to_date, environment


@task(task_run_name="folds", timeout_seconds=48 * HOUR, **RETRY_OPTIONS)
def run_folds(threads: dict[str, str]) -> CrossValidation:
    """Train and measure every fold; finished folds are not trained again. `threads`: environment variable with their number."""
    command = Command([sys.executable, "-m", "components.cross_validate"], "cross_validate")
    run_command(command, Progress("cross-validation-progress"), {**environment(ROOT), **threads})
    return CrossValidation.read(ROOT / CROSS_VALIDATION)


@task(task_run_name="publish", timeout_seconds=5 * MINUTE, cache_policy=NO_CACHE)
def publish(report: CrossValidation) -> None:
    """Publish the means with their intervals, the folds, and their picture."""
    create_table_artifact(
        key="cross-validation",
        table=[{"metric": report.label_set.metric_label(name), "mean": f"{row:.3f}"} for name, row in report.mean.items()],
        description=f"means over {len(report.folds)} folds ({report.phase}) of {report.images} training and validation images,"
        " with 95 % intervals",
    )
    create_table_artifact(
        key="cross-validation-folds",
        table=[{"repeat": fold.repeat, "fold": fold.number, "images": fold.images, **_rounded(fold.figures)} for fold in report.folds],
        description="each fold on the images that it held out",
    )
    publish_picture("cross-validation-plot", ROOT / CROSS_VALIDATION_PLOTS / "folds.png", "folds and means")


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in figures.items()}


@flow(name="cross-validation", log_prints=True, **notifications.HOOKS)
def cross_validation(workers: int = 0, threads: int = 0, cluster: bool = False) -> CrossValidation:
    """Bring the split up to date, then cross-validate the settings on folds of the training and validation images.

    Args:
        workers: Number of processes that share the folds; 0: one, with all cores.
        threads: Threads of each; 0: the machine's cores divided among them. The figures depend on it in the last digits.
        cluster: The processes are workers of a Dask cluster on this machine (extra cluster).
    """
    sharing = Workers.requested(workers, threads, cluster)
    with workspace.lock(patience=-1):
        bring_split_up_to_date()
        params = params_file.load().cross_validation
        sharing.run(distribution.compute_fold, range(params.folds * params.repeats))
        report = run_folds(sharing.environment)
        publish(report)
    return report


def main() -> None:
    """Run the flow once; exit code 1 if it failed."""
    report = run_once(cross_validation, __doc__)
    for name, row in report.mean.items():
        print(f"{report.label_set.metric_label(name):30} {row:.3f}")


if __name__ == "__main__":
    main()
