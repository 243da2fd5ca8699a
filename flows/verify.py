"""The verify flow: measure the champion again on the test images it was promoted on, and raise if its figures moved."""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows import notifications, workspace
from flows.processes import LESIONFLOW, CommandFailed, ask
from flows.tasks import HOUR, MINUTE, PATIENT, environment, look, pull


class FiguresMoved(Exception):
    """The champion no longer measures what was recorded of it."""


@task(task_run_name="copy", timeout_seconds=30 * MINUTE, cache_policy=NO_CACHE)
def copy_with_data(data_md5: str) -> Path:
    """A copy of the workspace that holds the dataset the champion was measured on."""
    root = workspace.copy()
    (root / workspace.POINTER).write_text(f"outs:\n- md5: {data_md5}\n  hash: md5\n  path: data\n", encoding="utf-8")
    return root


@task(task_run_name="measure", timeout_seconds=6 * HOUR, **PATIENT)
def measure(root: Path, version: str) -> dict[str, Any]:
    """A version's test figures, as recorded and as measured now."""
    command = [*LESIONFLOW, "champion", "verify", version, "--format", "json"]
    return dict(ask(command, get_run_logger().info, environment(root), root, what="champion verify"))


@flow(name="verify", log_prints=True, **notifications.HOOKS)
def verify() -> dict[str, Any]:
    """Evaluate the champion again on its frozen test split, from its registered model and the dataset its version names.

    The champion is read once, when this run holds the workspace: moved later, it is still that version which is measured.

    Raises:
        FiguresMoved: a figure is not what was recorded: the model, the images or the code that reads them has changed.
    """
    logger = get_run_logger()
    with workspace.held(patience=-1):
        champion = look()["champion"]
        if champion is None:
            logger.info("no champion yet: nothing to verify")
            return {}
        if not (champion["data_md5"] or "").endswith(".dir"):
            raise CommandFailed(
                f"version {champion['version']} names no dataset under DVC ({champion['data_md5']}): it cannot be measured again"
            )
        root = copy_with_data(champion["data_md5"])
        pull(root)
        found = measure(root, champion["version"])
    create_table_artifact(
        key="verification",
        table=[{"test figure": name, **figures} for name, figures in found["figures"].items()],
        description=f"{found['model']} version {found['version']} on {found['images']} test images, as recorded and now",
    )
    moved = [*found["moved"], *found["unsupported"]]
    if moved:
        raise FiguresMoved(f"{found['model']} version {found['version']}: {', '.join(moved)} moved; see the artifact `verification`")
    logger.info("version %s measures as recorded on %s test images", found["version"], found["images"])
    return found
