"""Replaces data/ and data.dvc together: both are the new dataset's, or both are the old one's.

While data/ is replaced, .data.importing/swap.json exists and the old folder is in .data.importing/previous. Removing swap.json is the
moment at which the new dataset counts. A process that is killed before leaves the file, and `recover` undoes the replacement.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.errors import LesionflowError, Unavailable
from components.core.files import replacing
from components.core.paths import DATA, DATA_POINTER, UNFINISHED_SWAP
from components.runtime import locking
from components.runtime.stage import DISK_FULL

STAGING = UNFINISHED_SWAP.parent
PREVIOUS = STAGING / "previous"


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock that flows hold, or use the one inherited from the flow that started this process.

    Raises:
        Unavailable: a flow or another import holds it.
    """
    try:
        with locking.held(0, Path()):
            yield
    except locking.Busy as busy:
        raise Unavailable(f"{busy}; nothing was changed, try again when it has ended") from None


@contextmanager
def exclusive() -> Iterator[Any]:
    """Keep DVC away from data/: no stage reads it, none starts to, no DVC command changes it. Yields DVC's Repo.

    Raises:
        Unavailable: a DVC command is running, or a stage that reads data/.
        LesionflowError: DVC fails, with its message.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo
    from dvc.rwlock import RWLOCK_FILE, rwlock

    try:
        with Repo(config={"core": {"autostage": False}}) as repo:
            command = " ".join(sys.argv)  # as DVC names this process's own locks: `repo.add` then does not wait for this one
            hard_links = repo.config["core"].get("hardlink_lock", False)
            repo.scm_context.quiet = True  # the import says what to add to git
            with lock_repo(repo):
                _drop_torn_locks(Path(repo.tmp_dir) / RWLOCK_FILE)
                with rwlock(repo.tmp_dir, repo.fs, command, [], [str(DATA.absolute())], hard_links):
                    yield repo
    except LockError as fault:
        holders = [line.strip() for line in str(fault).splitlines() if line.strip().startswith("(PID")]
        if holders:
            raise Unavailable(
                f"DVC is reading or writing {DATA}/: {', '.join(holders)}; nothing was changed, try again when it has ended"
                " (if no such process exists, remove .dvc/tmp/rwlock)"
            ) from None
        raise Unavailable("another DVC command is running in this project; nothing was changed, try again when it has ended") from None
    except DvcException as fault:
        raise LesionflowError(f"DVC failed: {' '.join(str(fault).split())}") from None


def _drop_torn_locks(path: Path) -> None:
    """Delete DVC's table of locks where a killed process left it half-written, in which case every DVC command stops at it.

    DVC writes it with the lock on the project held, as it is here, so no process is writing it now. But the table may have named a stage
    that still runs.

    Raises:
        Unavailable: a process of DVC or of a stage is running in this folder.
    """
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        if others := _at_work():
            raise Unavailable(
                f"{path} is half-written, and these may use {DATA}/: {', '.join(others)}; nothing was changed, try again later"
            ) from None
        path.unlink()


def _at_work() -> list[str]:
    """Other processes of DVC or of a stage in this folder."""
    import psutil

    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
        words = process.info["cmdline"] or []
        works = any(Path(word).name == "dvc" or word.startswith("components.") for word in words)
        if works and process.info["cwd"] == str(Path.cwd()) and process.pid not in own:
            found.append(f"(PID {process.pid}) {' '.join(words)}")
    return found


def replace(draft: Path, source: str, named: str | None = None) -> None:
    """Make the folder `draft`, in .data.importing/, the dataset, under DVC.

    Args:
        draft: the complete dataset.
        source: where it comes from, for messages.
        named: the text of the data.dvc that describes the dataset; where None, DVC adds the dataset and writes it.

    Raises:
        Unavailable: DVC is at work on data/.
        LesionflowError: DVC cannot take it, a folder cannot be renamed, or it is not the dataset that `named` describes.
        OSError: the disk is full.
        Whatever is raised, data/ and data.dvc are as they were, and `draft` still exists.
    """
    with exclusive() as repo:
        pointer = DATA_POINTER.read_text(encoding="utf-8") if DATA_POINTER.exists() else None
        _note({"source": source, "draft": draft.name, "pointer": pointer})
        try:
            if DATA.exists():
                DATA.replace(PREVIOUS)
            draft.replace(DATA)
            if named is None:
                repo.add(str(DATA))
            else:
                _write(DATA_POINTER, named)
                if repo.status(targets=[str(DATA_POINTER)]):
                    raise LesionflowError(f"{source} does not hold the files that its {DATA_POINTER} names; nothing was changed")
        except OSError as fault:
            _undo()
            if fault.errno in DISK_FULL:
                raise
            raise LesionflowError(f"{DATA}/ cannot be replaced: {fault}; nothing was changed") from None
        except BaseException:
            _undo()
            raise
        UNFINISHED_SWAP.unlink()
    shutil.rmtree(STAGING)


def adopt(checkout: Path) -> Iterator[str]:
    """Make data/ and data.dvc of another checkout of this project the dataset here; the checkout's data/ moves. Yields what was done.

    Raises:
        LesionflowError: its data/ is not what its data.dvc names, or the present dataset is not safe in git and DVC.
        Unavailable: a flow, an import or DVC is at work. In either case data/ and data.dvc are as they were.
    """
    with locked():
        yield from recover()
        require_safe_previous()
        folder, pointer = checkout / DATA, checkout / DATA_POINTER
        if not (folder.is_dir() and pointer.is_file()):
            raise LesionflowError(f"{checkout} is not a checkout with {DATA}/ and {DATA_POINTER}; nothing was changed")
        draft = STAGING / "adopted"
        if STAGING.exists():
            shutil.rmtree(STAGING)
        STAGING.mkdir()
        folder.replace(draft)
        try:
            replace(draft, str(checkout), pointer.read_text(encoding="utf-8"))
        except BaseException:
            if not UNFINISHED_SWAP.exists():
                draft.replace(folder)
            raise
        yield f"{DATA}/ and {DATA_POINTER} are those of {checkout}"


def _note(entry: dict[str, str | None]) -> None:
    _write(UNFINISHED_SWAP, json.dumps(entry))


def _write(path: Path, text: str) -> None:
    """Write a file so that it is whole or not there, also after the machine lost its power."""
    with replacing(path) as draft, draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _undo() -> str:
    """Bring back data/ and data.dvc as swap.json has them, from wherever the replacement or an earlier undoing stopped.

    Returns:
        Where the dataset that was to be imported came from.
    """
    entry = json.loads(UNFINISHED_SWAP.read_text(encoding="utf-8"))
    draft = STAGING / entry["draft"]
    if DATA.exists() and not draft.exists():
        DATA.replace(draft)
    if PREVIOUS.exists() and DATA.exists():  # somebody brought data/ back by hand
        shutil.rmtree(PREVIOUS)
    elif PREVIOUS.exists():
        PREVIOUS.replace(DATA)
    if entry["pointer"] is None:
        DATA_POINTER.unlink(missing_ok=True)
    else:
        _write(DATA_POINTER, entry["pointer"])
    UNFINISHED_SWAP.unlink()
    return str(entry["source"])


def recover() -> Iterator[str]:
    """Bring data/ and data.dvc in order after an import that was killed; yields what was done. Call it within `locked`.

    Raises:
        Unavailable: DVC is at work on data/.
    """
    if UNFINISHED_SWAP.exists():
        with exclusive():
            source = _undo()
        yield f"an import of {source} was interrupted while it replaced {DATA}/: {DATA}/ and {DATA_POINTER} are the previous dataset again"
    elif PREVIOUS.exists() and DATA.exists():
        shutil.rmtree(PREVIOUS)
        yield f"the last import was interrupted after it had replaced {DATA}/: {DATA}/ and {DATA_POINTER} are the new dataset"
    elif PREVIOUS.exists():
        PREVIOUS.replace(DATA)
        yield f"an import was interrupted while it replaced {DATA}/: {DATA}/ is the previous dataset again"


def require_safe_previous() -> None:
    """Refuse where replacing data/ would lose a dataset that neither git nor DVC could bring back.

    Raises:
        LesionflowError: data/ is not under DVC, data.dvc is not committed, or data/ has changes.
        Unavailable: DVC is at work on data/.
    """
    if not DATA_POINTER.exists():
        if DATA.exists():
            raise LesionflowError(f"{DATA}/ is there but not under DVC: `dvc add {DATA}` and commit {DATA_POINTER} first, or move it away")
        return
    if _git("--no-optional-locks", "status", "--porcelain", "--", str(DATA_POINTER)):
        raise LesionflowError(
            f"{DATA_POINTER} names a dataset that git does not know yet: `git add {DATA_POINTER} && git commit` keeps it reachable"
        )
    with exclusive() as repo:
        if DATA.exists() and repo.status(targets=[str(DATA_POINTER)]):
            raise LesionflowError(
                f"{DATA}/ has changes that DVC does not know: `dvc add {DATA}` and commit keep them,"
                f" `dvc checkout {DATA_POINTER}` drops them"
            )


def _git(*command: str) -> str:
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LesionflowError("git is not installed: this command needs it to keep the present dataset reachable") from None
    if done.returncode != 0:
        raise LesionflowError(f"git cannot tell whether {DATA_POINTER} is committed: {' '.join(done.stderr.split())}")
    return done.stdout.strip()
