"""The watch-data flow: imports a new dataset from the inbox or from the upstream branch, and trains on it."""

import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import yaml
from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import NonNegativeFloat

from components.core.document import Part
from components.core.paths import DATA_POINTER
from components.runtime import locking
from components.runtime.params_file import PARAMS_FILE
from flows import notifications, workspace
from flows.git_commands import git
from flows.processes import LESIONFLOW, ROOT, Command, CommandFailed, TransientCommandError, run_command, run_json
from flows.stages import DVC, dvc
from flows.tasks import HOUR, MINUTE, RETRY_OPTIONS
from flows.training import run_pipeline

IMPORTED, REFUSED = "imported", "refused"
INBOX = Path("inbox")
PENDING = workspace.STATE / "taking.json"
"""Exists from before a dataset is imported until a run has trained on it or failed; it remains if the run is killed."""


def require_within_inbox(inbox: Path, root: Path = ROOT) -> Path:
    """Path of the inbox: the folder import.inbox of params.yaml, or a folder in it.

    Raises:
        CommandFailed: it is another folder. A user who may start a run must not choose which files of this machine are imported.
    """
    params = yaml.safe_load((root / PARAMS_FILE).read_text(encoding="utf-8"))
    named = Path(params["import"].get("inbox", INBOX))
    inside = (root / inbox).resolve().is_relative_to((root / named).resolve())
    if inbox != named and (inbox.is_absolute() or ".." in inbox.parts or not inside):
        raise CommandFailed(f"inbox: {inbox} is not {named} or a folder in it. To use another folder, set import.inbox in params.yaml.")
    return root / inbox


def next_inbox_item(inbox: Path, settle_seconds: float, now: float) -> Path | None:
    """The oldest dataset in the inbox that has not changed for `settle_seconds`, or None.

    A dataset is a folder or an archive. Names that start with a dot are incomplete transfers of rsync and browsers.
    """
    if not inbox.is_dir():
        return None
    waiting = [path for path in inbox.iterdir() if not path.name.startswith(".") and path.name not in (IMPORTED, REFUSED)]
    settled = [(touched, path) for path in waiting if now - (touched := _last_touched(path)) >= settle_seconds]
    return min(settled)[1] if settled else None


def _last_touched(path: Path) -> float:
    inside = path.rglob("*") if path.is_dir() else ()
    return max(item.lstat().st_mtime for item in (path, *inside))


def move_to(arrival: Path, where: str, reason: str = "") -> Path:
    """Move a dataset to a subfolder of the inbox, and write the reason next to it if there is one."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    target = arrival.parent / where / f"{stamp}-{arrival.name}"
    target.parent.mkdir(exist_ok=True)
    shutil.move(arrival, target)
    if reason:
        target.with_name(f"{target.name}.txt").write_text(reason + "\n", encoding="utf-8")
    return target


def commit_pointer(message: str) -> bool:
    """Commit only data.dvc, so that git records every dataset used by a run; False if it has not changed."""
    if not git("status", "--porcelain", "--", str(DATA_POINTER)):
        return False
    author = () if git("config", "--default", "", "user.email") else ("-c", "user.name=Lesionflow", "-c", "user.email=lesionflow@localhost")
    git("add", "--", str(DATA_POINTER))
    git(*author, "commit", "--quiet", "--message", message, "--", str(DATA_POINTER))
    return True


class PendingDataset(Part):
    """A dataset that is being imported: its name, and the content of data.dvc before."""

    name: str
    before: str


def record_pending(name: str) -> None:
    """Record that a dataset is being imported; if this run is killed, the next one trains on it."""
    path = ROOT / PENDING
    draft = path.with_name(f"{path.name}.partial")
    draft.write_text(json.dumps(PendingDataset(name=name, before=_pointer_now()).model_dump()), encoding="utf-8")
    draft.replace(path)


def resume_pending() -> str | None:
    """Commit and return the dataset that a killed run imported but did not train on; None if there is none."""
    path = ROOT / PENDING
    if not path.exists():
        return None
    pending = PendingDataset.model_validate_json(path.read_text(encoding="utf-8"))
    if pending.before == _pointer_now():
        path.unlink()
        return None
    commit_pointer(f"Take over the dataset {pending.name}")
    return pending.name


def _pointer_now() -> str:
    return (ROOT / DATA_POINTER).read_text(encoding="utf-8") if (ROOT / DATA_POINTER).exists() else ""


def commit_current_dataset(on_line: Callable[[str], None], waiting: str) -> None:
    """Commit data.dvc if it has changes, so that its dataset can be restored.

    Raises:
        CommandFailed: data/ itself has changes; `waiting` names the dataset that waits until they are committed or discarded.
    """
    commit_pointer("Keep the present dataset reachable")
    if (ROOT / DATA_POINTER).exists() and run_json(Command([*DVC, "status", "--json", str(DATA_POINTER)], "dvc status"), on_line):
        raise CommandFailed(
            f"data/ has changes that DVC does not track; {waiting} waits. Run `dvc add data` to keep them"
            f" or `dvc checkout {DATA_POINTER}` to discard them."
        )


@task(task_run_name="inbox", timeout_seconds=24 * HOUR, **RETRY_OPTIONS)
def import_from_inbox(inbox: Path, settle_seconds: float, lock: int) -> str | None:
    """Import the next dataset of the inbox; return its name, or None if there is none or nothing changed.

    Args:
        inbox: the folder.
        settle_seconds: see `next_inbox_item`.
        lock: descriptor of the workspace lock, which the import inherits.

    Raises:
        CommandFailed: the import failed; the dataset was moved to refused/ with the reason next to it.
    """
    arrival = next_inbox_item(inbox, settle_seconds, time.time())
    if arrival is None:
        return None
    logger = get_run_logger()
    commit_current_dataset(logger.info, str(arrival))
    record_pending(arrival.name)
    try:
        _lesionflow(["import", str(arrival)], logger.info, lock, what=f"import of {arrival.name}")
    except TransientCommandError:
        raise
    except CommandFailed as fault:
        where = move_to(arrival, REFUSED, str(fault))
        raise CommandFailed(f"{fault}\nThe dataset was moved to {where}, with the reason next to it; data/ was not changed.") from None
    changed = commit_pointer(f"Import {arrival.name} from the inbox")
    where = move_to(arrival, IMPORTED)
    logger.info("%s %s; it was moved to %s", arrival.name, "is now the dataset" if changed else "equals the dataset in data/", where)
    return arrival.name if changed else None


@task(task_run_name="upstream", timeout_seconds=12 * HOUR, **RETRY_OPTIONS)
def pull_upstream_dataset(lock: int) -> str | None:
    """Import the dataset of the upstream branch if its data.dvc differs; return the branch's name, or None.

    Args:
        lock: descriptor of the workspace lock, which the command that replaces data/ inherits.

    Raises:
        CommandFailed: both branches have changed data.dvc since their merge base, or data/ has changes.
    """
    upstream = _upstream()
    if upstream is None:
        return None
    theirs, parted = _pointer(upstream), _pointer(git("merge-base", "HEAD", upstream))
    if theirs in (_pointer("HEAD"), parted):
        return None
    logger = get_run_logger()
    commit_current_dataset(logger.info, f"the dataset of {upstream}")
    ours = _pointer("HEAD")
    if ours == theirs:
        return None
    if ours != parted:
        raise CommandFailed(f"this branch and {upstream} have both changed {DATA_POINTER}. Merge {upstream} by hand.")
    checkout = checkout_copy(theirs, logger.info)
    record_pending(upstream)
    _lesionflow(["data", "adopt", str(checkout)], logger.info, lock, what=f"dataset of {upstream}")
    commit_pointer(f"Take the dataset of {upstream}")
    return upstream


def checkout_copy(pointer: str, on_line: Callable[[str], None]) -> Path:
    """Copy the project with `pointer` as data.dvc, and pull its data as regular files."""
    root = workspace.copy_worktree()
    shutil.rmtree(root / DATA_POINTER.stem, ignore_errors=True)
    (root / DATA_POINTER).write_text(pointer + "\n", encoding="utf-8")
    dvc(["config", "--local", "cache.type", "reflink,copy"], on_line, root=root)
    dvc(["pull", str(DATA_POINTER)], on_line, root=root)
    return root


def _lesionflow(arguments: list[str], on_line: Callable[[str], None], lock: int, what: str) -> None:
    run_command(Command([*LESIONFLOW, *arguments], what, inherited=(lock,)), on_line, locking.for_child(lock))


def _upstream() -> str | None:
    """Fetch the upstream branch and return its name; None if there is none.

    Raises:
        TransientCommandError: its remote does not respond.
    """
    if not git("for-each-ref", "--format=%(upstream:short)", git("rev-parse", "--symbolic-full-name", "HEAD")):
        return None
    try:
        git("fetch", "--quiet")
    except CommandFailed as fault:
        raise TransientCommandError(str(fault)) from None
    return git("rev-parse", "--abbrev-ref", "@{upstream}")


def _pointer(revision: str) -> str:
    return git("show", f"{revision}:{DATA_POINTER}")


@flow(name="watch-data", log_prints=True, **notifications.HOOKS)
def watch_data(inbox: Path = INBOX, settle_seconds: NonNegativeFloat = MINUTE) -> State[None]:
    """Check for a new dataset version; if there is one, import it and train on it.

    Args:
        inbox: Folder for new datasets, as folders or archives in any form that `lesionflow import` recognises: import.inbox of
            params.yaml, or a folder in it.
        settle_seconds: Seconds without changes after which a dataset counts as complete.
    """
    place = require_within_inbox(inbox)
    try:
        with workspace.lock(patience=0) as lock:
            name = resume_pending() or import_from_inbox(place, settle_seconds, lock) or pull_upstream_dataset(lock)
            if name is None:
                return Completed(name=notifications.UNCHANGED, message="no new dataset")
            try:
                run_pipeline()
            finally:
                (ROOT / PENDING).unlink(missing_ok=True)
            return Completed(message=f"trained on {name}")
    except workspace.WorkspaceBusy as busy:
        return Completed(name=notifications.UNCHANGED, message=f"{busy}; the next run checks again")
