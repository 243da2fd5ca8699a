"""The verify flow: evaluates the champion again on the test images it was promoted on, and fails if its metrics changed."""

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from components.core.label_set import metric_label
from components.core.paths import DATA_POINTER
from components.core.reports.champion import Verification
from flows import notifications, workspace
from flows.processes import LESIONFLOW, Command, CommandFailed, run_json
from flows.tasks import HOUR, MINUTE, RETRY_OPTIONS, champion_status, environment, pull


class MetricsChanged(Exception):
    """The champion's metrics differ from the recorded ones."""


@task(task_run_name="copy", timeout_seconds=30 * MINUTE, cache_policy=NO_CACHE)
def copy_with_data(data_md5: str) -> Path:
    """Copy the workspace with the dataset that the champion was evaluated on."""
    root = workspace.copy_worktree()
    (root / DATA_POINTER).write_text(f"outs:\n- md5: {data_md5}\n  hash: md5\n  path: data\n", encoding="utf-8")
    return root


@task(task_run_name="measure", timeout_seconds=6 * HOUR, **RETRY_OPTIONS)
def measure_champion(root: Path, version: str) -> Verification:
    """Evaluate a version again; return its test metrics, as recorded and as measured now."""
    command = Command([*LESIONFLOW, "champion", "verify", version, "--format", "json"], "champion verify")
    return Verification.model_validate(run_json(command, get_run_logger().info, environment(root), root))


@flow(name="verify", log_prints=True, **notifications.HOOKS)
def verify() -> Verification | None:
    """Evaluate the champion again on its frozen test split, with its registered model and the dataset recorded in its version.

    The champion is read once, when this run holds the workspace lock; if the alias moves later, that version is still evaluated.

    Raises:
        MetricsChanged: a metric differs from the recorded value: the model, the images or the code that reads them has changed.
    """
    logger = get_run_logger()
    with workspace.lock(patience=-1):
        champion = champion_status().champion
        if champion is None:
            logger.info("no champion yet: nothing to verify")
            return None
        if champion.data_md5 is None or not champion.data_md5.endswith(".dir"):
            raise CommandFailed(
                f"version {champion.version} has no dataset tracked by DVC ({champion.data_md5}), so it cannot be evaluated again"
            )
        root = copy_with_data(champion.data_md5)
        pull(root)
        report = measure_champion(root, champion.version)
    create_table_artifact(
        key="verification",
        table=[{"test metric": metric_label(name, report.critical_class), **pair.model_dump()} for name, pair in report.figures.items()],
        description=f"{report.model} version {report.version} on {report.images} test images, as recorded and now",
    )
    changed = [metric_label(name, report.critical_class) for name in (*report.moved, *report.unsupported)]
    if changed:
        raise MetricsChanged(f"{report.model} version {report.version}: {', '.join(changed)} changed; see the artifact `verification`")
    logger.info("the metrics of version %s on %s test images are as recorded", report.version, report.images)
    return report
