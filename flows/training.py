"""Run the training flow: each stage of the pipeline is a Prefect task that DVC executes.

`python -m flows.training` runs it immediately; no Prefect server is needed.
"""

import argparse
import sys
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from components.core.paths import DATA_POINTER
from components.runtime.params_file import PARAMS_FILE
from flows import artifacts, notifications, workspace
from flows.git_commands import git
from flows.processes import LESIONFLOW, ROOT, Command, CommandFailed, run_command
from flows.stages import SOURCES, STAGES, StageResult
from flows.tasks import MINUTE, champion_status, list_up_to_date, needs_pull, pull, stage

Override = Annotated[str, Field(pattern=r"^\+?[A-Za-z_][A-Za-z0-9_.]*=.+$")]
Revision = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_./@{}^~-]*)?$")]
Promote = Literal["params.yaml", "automatic", "manual"]


@task(task_run_name="copy", timeout_seconds=30 * MINUTE, cache_policy=NO_CACHE)
def copy_workspace(overrides: list[str], promote: Promote, data_revision: str) -> Path:
    """Copy the workspace with other params and optionally the dataset of another commit, and check the params there."""
    root = workspace.copy_worktree()
    if data_revision:
        pointer = git("show", f"{data_revision}:{DATA_POINTER}")
        (root / DATA_POINTER).write_text(pointer + "\n", encoding="utf-8")
    if overrides or promote != "params.yaml":
        workspace.set_params_of_run(root / PARAMS_FILE, overrides, promote)
    run_command(Command([*LESIONFLOW, "params", "check"], "params with overrides"), get_run_logger().info, root=root)
    return root


def run_pipeline(root: Path = ROOT, force: bool = False) -> list[StageResult]:
    """Run the stale stages one by one, and publish the results."""
    known = [] if force else list_up_to_date(root)
    for source in SOURCES:
        stage(source, root, is_up_to_date=source in known)
    outcomes: list[StageResult] = [stage(name, root, force, is_up_to_date=name in known).result() for name in STAGES]
    artifacts.publish(outcomes, champion_status(root), root)
    return outcomes


@flow(name="training", log_prints=True, **notifications.HOOKS)
def training(
    data_revision: Revision = "",
    overrides: list[Override] = [],  # noqa: B006 (Prefect's form shows the default, and nothing changes it)
    force: bool = False,
    promote: Promote = "params.yaml",
) -> list[StageResult]:
    """Bring the whole pipeline up to date: validate, split, augment, embed, train, finetune, evaluate, export, index, register.

    Args:
        data_revision: Git revision (commit, tag or branch) with the data.dvc of the dataset. Empty: the workspace's own.
        overrides: Params for this run only, in the format of DVC's --set-param, e.g. train.dropout=0.4. params.yaml is not changed.
        force: Run every stage, even if nothing has changed.
        promote: automatic: a version that passes the gate becomes champion, unless overrides change params outside augment, embed,
            train, finetune and backbone, which require manual promotion; manual: a person promotes versions.
    """
    with workspace.lock(patience=-1):
        if overrides or data_revision or promote != "params.yaml":
            root = copy_workspace(overrides, promote, data_revision)
            pull(root)
            return run_pipeline(root, force)
        if needs_pull():
            pull()
        return run_pipeline(force=force)


def main() -> None:
    """Run the flow once; exit code 1 if a stage failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-revision", metavar="REV", default="", help="git revision with the data.dvc of the dataset")
    parser.add_argument(
        "-S", "--set-param", dest="overrides", action="append", default=[], metavar="KEY=VALUE", help="param for this run only"
    )
    parser.add_argument("-f", "--force", action="store_true", help="run every stage, even if nothing has changed")
    parser.add_argument(
        "--promote",
        choices=("params.yaml", "automatic", "manual"),
        default="params.yaml",
        help="automatic or manual promotion of a version that passes the gate",
    )
    given = parser.parse_args()
    try:
        outcomes = training(given.data_revision, given.overrides, given.force, given.promote)
    except (CommandFailed, ValueError) as fault:
        print(f"\nerror: {fault}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    for outcome in outcomes:
        print(f"{outcome.stage:<10} {'cached' if outcome.cached else 'ran':<7} {outcome.seconds:6.1f} s")


if __name__ == "__main__":
    main()
