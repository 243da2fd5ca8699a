"""The watch-data flow: a new dataset in the inbox, or in the branch this one follows, becomes the dataset and is trained on."""

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

from components.runtime import locking
from flows import notifications, workspace
from flows.dvc import DVC, dvc
from flows.git import git
from flows.processes import LESIONFLOW, ROOT, CommandFailed, TryLater, ask, execute
from flows.tasks import HOUR, MINUTE, PATIENT
from flows.training import bring_up_to_date
from flows.workspace import POINTER

IMPORTED, REFUSED = "imported", "refused"
INBOX = Path("inbox")
TAKING = workspace.STATE / "taking.json"
"""There from before a dataset is taken over until a run has trained on it or failed to; it outlives a run that is killed."""


def confined(inbox: Path, root: Path = ROOT) -> Path:
    """The inbox's place: the folder that params.yaml names as import.inbox, or one in it.

    Raises:
        CommandFailed: it is another folder. Whoever may start a run must not choose what is moved and imported from this machine.
    """
    params = yaml.safe_load((root / workspace.PARAMS).read_text(encoding="utf-8"))
    named = Path(params["import"].get("inbox", INBOX))
    inside = (root / inbox).resolve().is_relative_to((root / named).resolve())
    if inbox != named and (inbox.is_absolute() or ".." in inbox.parts or not inside):
        raise CommandFailed(f"inbox: {inbox} is not {named} or a folder in it. Name another folder in params.yaml, as import.inbox")
    return root / inbox


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


def note_taking(name: str) -> None:
    """Write down that a dataset is being taken over: where this run is killed, the next one trains on it."""
    path = ROOT / TAKING
    draft = path.with_name(f"{path.name}.partial")
    draft.write_text(json.dumps({"name": name, "before": _pointer_now()}), encoding="utf-8")
    draft.replace(path)


def taken_before() -> str | None:
    """The dataset that a run took over and did not train on because it was killed; it is committed now. None where there is none."""
    path = ROOT / TAKING
    if not path.exists():
        return None
    entry = json.loads(path.read_text(encoding="utf-8"))
    if entry["before"] == _pointer_now():
        path.unlink()
        return None
    commit_pointer(f"Take over the dataset {entry['name']}")
    return str(entry["name"])


def _pointer_now() -> str:
    return (ROOT / POINTER).read_text(encoding="utf-8") if (ROOT / POINTER).exists() else ""


def keep_present(on_line: Callable[[str], None], waiting: str) -> None:
    """Commit data.dvc where git does not know it yet, so that the dataset it names stays reachable.

    Raises:
        CommandFailed: data/ itself has changes; `waiting` is what waits until they are kept or dropped.
    """
    commit_pointer("Keep the present dataset reachable")
    if (ROOT / POINTER).exists() and ask([*DVC, "status", "--json", str(POINTER)], on_line, what="dvc status"):
        raise CommandFailed(
            f"data/ has changes that DVC does not know: `dvc add data` keeps them, `dvc checkout {POINTER}` drops them; {waiting} waits"
        )


@task(task_run_name="inbox", timeout_seconds=24 * HOUR, **PATIENT)
def take_arrival(inbox: Path, settle_seconds: float, held: int) -> str | None:
    """Import the next dataset of the inbox; what it was called, or None where nothing came or nothing changed.

    Args:
        inbox: the folder.
        settle_seconds: see `next_arrival`.
        held: descriptor of the project's lock, which the import inherits.

    Raises:
        CommandFailed: it cannot be imported; it lies in refused/ with the reason beside it.
    """
    arrival = next_arrival(inbox, settle_seconds, time.time())
    if arrival is None:
        return None
    logger = get_run_logger()
    keep_present(logger.info, str(arrival))
    note_taking(arrival.name)
    try:
        _lesionflow(["import", str(arrival)], logger.info, held, what=f"import of {arrival.name}")
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
def take_upstream(held: int) -> str | None:
    """Take over data.dvc, and the data it names, from the branch this one follows, where it names another dataset; that branch's
    name, or None.

    Args:
        held: descriptor of the project's lock, which the command that replaces data/ inherits.

    Raises:
        CommandFailed: both branches have changed data.dvc since they parted, or data/ has changes.
    """
    upstream = _upstream()
    if upstream is None:
        return None
    theirs, parted = _pointer(upstream), _pointer(git("merge-base", "HEAD", upstream))
    if theirs in (_pointer("HEAD"), parted):
        return None
    logger = get_run_logger()
    keep_present(logger.info, f"the dataset of {upstream}")
    ours = _pointer("HEAD")
    if ours == theirs:
        return None
    if ours != parted:
        raise CommandFailed(f"both this branch and {upstream} have changed {POINTER}: merge {upstream} by hand")
    checkout = checked_out(theirs, logger.info)
    note_taking(upstream)
    _lesionflow(["data", "adopt", str(checkout)], logger.info, held, what=f"dataset of {upstream}")
    commit_pointer(f"Take the dataset of {upstream}")
    return upstream


def checked_out(pointer: str, on_line: Callable[[str], None]) -> Path:
    """A copy of the project whose data.dvc is `pointer`, with the data it names in plain files."""
    root = workspace.copy()
    shutil.rmtree(root / POINTER.stem, ignore_errors=True)
    (root / POINTER).write_text(pointer + "\n", encoding="utf-8")
    dvc(["config", "--local", "cache.type", "reflink,copy"], on_line, root=root)
    dvc(["pull", str(POINTER)], on_line, root=root)
    return root


def _lesionflow(arguments: list[str], on_line: Callable[[str], None], held: int, what: str) -> None:
    execute([*LESIONFLOW, *arguments], on_line, locking.for_child(held), what=what, inherited=(held,))


def _upstream() -> str | None:
    """The branch this one follows, newly fetched, or None where it follows none.

    Raises:
        TryLater: its remote does not answer.
    """
    if not git("for-each-ref", "--format=%(upstream:short)", git("rev-parse", "--symbolic-full-name", "HEAD")):
        return None
    try:
        git("fetch", "--quiet")
    except CommandFailed as fault:
        raise TryLater(str(fault)) from None
    return git("rev-parse", "--abbrev-ref", "@{upstream}")


def _pointer(revision: str) -> str:
    return git("show", f"{revision}:{POINTER}")


@flow(name="watch-data", log_prints=True, **notifications.HOOKS)
def watch_data(inbox: Path = INBOX, settle_seconds: NonNegativeFloat = MINUTE) -> State[None]:
    """Look for a new dataset version; where there is one, make it the dataset and train on it.

    Args:
        inbox: Folder to which people and programs bring datasets, as folders or archives of class folders: the one that params.yaml
            names as import.inbox, or one in it.
        settle_seconds: How long a dataset must lie untouched before it counts as complete.
    """
    place = confined(inbox)
    try:
        with workspace.held(patience=0) as held:
            name = taken_before() or take_arrival(place, settle_seconds, held) or take_upstream(held)
            if name is None:
                return Completed(name=notifications.UNCHANGED, message="no new dataset")
            try:
                bring_up_to_date()
            finally:
                (ROOT / TAKING).unlink(missing_ok=True)
            return Completed(message=f"trained on {name}")
    except workspace.Busy as busy:
        return Completed(name=notifications.UNCHANGED, message=f"{busy}; the next run looks again")
