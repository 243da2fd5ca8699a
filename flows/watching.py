"""The watch-data flow: a new dataset in the inbox, or in the branch this one follows, becomes the dataset and is trained on."""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import NonNegativeFloat

from flows import reporting, workspace
from flows.runner import DVC, LESIONFLOW, ROOT, CommandFailed, TryLater, ask, dvc, execute
from flows.steps import HOUR, MINUTE, PATIENT
from flows.training import bring_up_to_date
from flows.workspace import POINTER, git

IMPORTED, REFUSED = "imported", "refused"


def next_arrival(inbox: Path, settle_seconds: float, now: float) -> Path | None:
    """The oldest dataset in the inbox that nobody has written to for `settle_seconds`, or None.

    A dataset is a folder or an archive. Names that start with a dot are still on their way, as rsync and browsers have it.
    """
    if not inbox.is_dir():
        return None
    waiting = [path for path in inbox.iterdir() if not path.name.startswith(".") and path.name not in (IMPORTED, REFUSED)]
    settled = [(touched, path) for path in waiting if now - (touched := _last_touched(path)) >= settle_seconds]
    return min(settled)[1] if settled else None


def _last_touched(path: Path) -> float:
    inside = path.rglob("*") if path.is_dir() else ()
    return max(item.lstat().st_mtime for item in (path, *inside))


def put_away(arrival: Path, where: str, reason: str = "") -> Path:
    """Move a dataset out of the inbox's way; a reason is written beside it."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    target = arrival.parent / where / f"{stamp}-{arrival.name}"
    target.parent.mkdir(exist_ok=True)
    shutil.move(arrival, target)
    if reason:
        target.with_name(f"{target.name}.txt").write_text(reason + "\n", encoding="utf-8")
    return target


def commit_pointer(message: str) -> bool:
    """Commit data.dvc alone, so that git names every dataset a run has used; False where it has not changed."""
    if not git("status", "--porcelain", "--", str(POINTER)):
        return False
    nobody = () if git("config", "--default", "", "user.email") else ("-c", "user.name=Lesionflow", "-c", "user.email=lesionflow@localhost")
    git("add", "--", str(POINTER))
    git(*nobody, "commit", "--quiet", "--message", message, "--", str(POINTER))
    return True


@task(task_run_name="inbox", timeout_seconds=24 * HOUR, **PATIENT)
def take_arrival(inbox: Path, settle_seconds: float) -> str | None:
    """Import the next dataset of the inbox; what it was called, or None where nothing came or nothing changed.

    Raises:
        CommandFailed: it cannot be imported; it lies in refused/ with the reason beside it.
    """
    arrival = next_arrival(inbox, settle_seconds, time.time())
    if arrival is None:
        return None
    logger = get_run_logger()
    commit_pointer("Keep the present dataset reachable")
    if ask([*DVC, "status", "--json", str(POINTER)], logger.info, what="dvc status"):
        raise CommandFailed(
            f"data/ has changes that DVC does not know: `dvc add data` keeps them, `dvc checkout {POINTER}` drops them; {arrival} waits"
        )
    try:
        execute([*LESIONFLOW, "import", str(arrival)], logger.info, what=f"import of {arrival.name}")
    except TryLater:
        raise
    except CommandFailed as fault:
        where = put_away(arrival, REFUSED, str(fault))
        raise CommandFailed(f"{fault}\nit lies in {where}, the reason beside it; data/ is as it was") from None
    changed = commit_pointer(f"Import {arrival.name} from the inbox")
    where = put_away(arrival, IMPORTED)
    logger.info("%s %s; it lies in %s", arrival.name, "is the dataset now" if changed else "holds what data/ held already", where)
    return arrival.name if changed else None


@task(task_run_name="upstream", timeout_seconds=12 * HOUR, **PATIENT)
def take_upstream() -> str | None:
    """Take over data.dvc from the branch this one follows, where it names another dataset; that branch's name, or None.

    Raises:
        CommandFailed: both branches have changed data.dvc since they parted.
    """
    upstream = _upstream()
    if upstream is None:
        return None
    ours, theirs, parted = (_pointer(revision) for revision in ("HEAD", upstream, git("merge-base", "HEAD", upstream)))
    if theirs in (ours, parted):
        return None
    if ours != parted:
        raise CommandFailed(f"both this branch and {upstream} have changed {POINTER}: merge {upstream} by hand")
    git("checkout", "--quiet", upstream, "--", str(POINTER))
    try:
        dvc(["pull", str(POINTER)], get_run_logger().info)
    except BaseException:
        git("checkout", "--quiet", "HEAD", "--", str(POINTER))
        raise
    commit_pointer(f"Take the dataset of {upstream}")
    return upstream


def _upstream() -> str | None:
    """The branch this one follows, newly fetched, or None where it follows none.

    Raises:
        TryLater: its remote does not answer.
    """
    if not git("for-each-ref", "--format=%(upstream:short)", git("rev-parse", "--symbolic-full-name", "HEAD")):
        return None
    try:
        git("fetch", "--quiet")
    except RuntimeError as fault:
        raise TryLater(str(fault)) from None
    return git("rev-parse", "--abbrev-ref", "@{upstream}")


def _pointer(revision: str) -> str:
    return git("show", f"{revision}:{POINTER}")


@flow(name="watch-data", log_prints=True, **reporting.HOOKS)
def watch_data(inbox: Path = Path("inbox"), settle_seconds: NonNegativeFloat = MINUTE) -> State[None]:
    """Look for a new dataset version; where there is one, make it the dataset and train on it.

    Args:
        inbox: Folder in the project to which people and programs bring datasets: folders or archives of class folders.
        settle_seconds: How long a dataset must lie untouched before it counts as complete.
    """
    try:
        with workspace.held(patience=0):
            name = take_arrival(ROOT / inbox, settle_seconds) or take_upstream()
            if name is None:
                return Completed(name=reporting.UNCHANGED, message="no new dataset")
            bring_up_to_date()
            return Completed(message=f"trained on {name}")
    except workspace.Busy as busy:
        return Completed(name=reporting.UNCHANGED, message=f"{busy}; the next run looks again")
