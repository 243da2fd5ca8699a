"""Replaces data/ and data.dvc atomically: either both belong to the new dataset or both to the old one.

While data/ is being replaced, .data.importing/swap.json exists and the old folder is in .data.importing/previous. Removing swap.json
commits the replacement. If the process is killed earlier, the file remains and `recover_dataset` rolls the replacement back.
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

from components.core.errors import LesionflowError, ServiceUnavailable
from components.core.files import atomic_write
from components.core.paths import DATA, DATA_POINTER, UNFINISHED_SWAP
from components.runtime import locking
from components.runtime.stage import DISK_FULL

STAGING = UNFINISHED_SWAP.parent
PREVIOUS = STAGING / "previous"


@contextmanager
def locked() -> Iterator[None]:
    """Hold the workspace lock, or use the one inherited from the flow that started this process.

    Raises:
        ServiceUnavailable: a flow or another import holds the lock.
    """
    try:
        with locking.held(0, Path()):
            yield
    except locking.WorkspaceBusy as busy:
        raise ServiceUnavailable(f"{busy}; nothing was changed. Try again when it has ended") from None


@contextmanager
def exclusive() -> Iterator[Any]:
    """Lock data/ in DVC, so that no stage reads it and no DVC command changes it. Yields DVC's Repo.

    Raises:
        ServiceUnavailable: a DVC command is running, or a stage that reads data/.
        LesionflowError: DVC fails, with its message.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo, lock_repo
    from dvc.rwlock import RWLOCK_FILE, rwlock

    try:
        with Repo(config={"core": {"autostage": False}}) as repo:
            command = " ".join(sys.argv)  # DVC identifies this process's locks by it, so that `repo.add` does not wait for this one
            hard_links = repo.config["core"].get("hardlink_lock", False)
            repo.scm_context.quiet = True  # the import prints what to add to git
            with lock_repo(repo):
                _drop_torn_locks(Path(repo.tmp_dir) / RWLOCK_FILE)
                with rwlock(repo.tmp_dir, repo.fs, command, [], [str(DATA.absolute())], hard_links):
                    yield repo
    except LockError as fault:
        holders = [line.strip() for line in str(fault).splitlines() if line.strip().startswith("(PID")]
        if holders:
            raise ServiceUnavailable(
                f"DVC is reading or writing {DATA}/: {', '.join(holders)}; nothing was changed. Try again when it has ended"
                " (if no such process exists, remove .dvc/tmp/rwlock)"
            ) from None
        raise ServiceUnavailable(
            "another DVC command is running in this project; nothing was changed. Try again when it has ended"
        ) from None
    except DvcException as fault:
        raise LesionflowError(f"DVC failed: {' '.join(str(fault).split())}") from None


def _drop_torn_locks(path: Path) -> None:
    """Delete DVC's lock table if a killed process left it incomplete; every DVC command fails on such a table.

    DVC writes the table while it holds the project lock. The caller holds that lock, so no process is writing it now; but a stage that
    the table listed may still be running.

    Raises:
        ServiceUnavailable: a DVC command or a stage is running in this folder.
    """
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        if others := _running_processes():
            raise ServiceUnavailable(
                f"{path} is incomplete, and these processes may use {DATA}/: {', '.join(others)}; nothing was changed. Try again later."
            ) from None
        path.unlink()


def _running_processes() -> list[str]:
    """Other DVC commands and stages that run in this folder."""
    import psutil

    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
        words = process.info["cmdline"] or []
        works = any(Path(word).name == "dvc" or word.startswith("components.") for word in words)
        if works and process.info["cwd"] == str(Path.cwd()) and process.pid not in own:
            found.append(f"(PID {process.pid}) {' '.join(words)}")
    return found


def replace_dataset(draft: Path, source: str, named: str | None = None) -> None:
    """Replace data/ by the folder `draft` of .data.importing/ and track it with DVC.

    Args:
        draft: the complete dataset.
        source: origin of the dataset, for messages.
        named: content of the data.dvc that describes the dataset; None lets DVC add the dataset and write data.dvc.

    Raises:
        ServiceUnavailable: a DVC command or a stage uses data/.
        LesionflowError: DVC fails, a folder cannot be renamed, or the dataset does not match `named`.
        OSError: the disk is full.
        After any error data/ and data.dvc are unchanged, and `draft` still exists.
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
                    raise LesionflowError(f"{source} does not contain the files listed in its {DATA_POINTER}; nothing was changed")
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


def adopt_dataset(checkout: Path) -> Iterator[str]:
    """Replace data/ and data.dvc by those of another checkout of this project; moves the checkout's data/. Yields messages.

    Raises:
        LesionflowError: its data/ does not match its data.dvc, or the current dataset is not committed to git and DVC.
        ServiceUnavailable: a flow, an import or DVC is running. In either case data/ and data.dvc are unchanged.
    """
    with locked():
        yield from recover_dataset()
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
            replace_dataset(draft, str(checkout), pointer.read_text(encoding="utf-8"))
        except BaseException:
            if not UNFINISHED_SWAP.exists():
                draft.replace(folder)
            raise
        yield f"{DATA}/ and {DATA_POINTER} are now those of {checkout}"


def _note(entry: dict[str, str | None]) -> None:
    _write(UNFINISHED_SWAP, json.dumps(entry))


def _write(path: Path, text: str) -> None:
    """Write a file atomically and flush it to disk, so that it is complete or absent even after a power loss."""
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _undo() -> str:
    """Restore data/ and data.dvc as recorded in swap.json, from any point where the replacement or an earlier rollback stopped.

    Returns:
        Origin of the dataset that was being imported.
    """
    entry = json.loads(UNFINISHED_SWAP.read_text(encoding="utf-8"))
    draft = STAGING / entry["draft"]
    if DATA.exists() and not draft.exists():
        DATA.replace(draft)
    if PREVIOUS.exists() and DATA.exists():  # the user restored data/ by hand
        shutil.rmtree(PREVIOUS)
    elif PREVIOUS.exists():
        PREVIOUS.replace(DATA)
    if entry["pointer"] is None:
        DATA_POINTER.unlink(missing_ok=True)
    else:
        _write(DATA_POINTER, entry["pointer"])
    UNFINISHED_SWAP.unlink()
    return str(entry["source"])


def recover_dataset() -> Iterator[str]:
    """Restore data/ and data.dvc after an import was killed; yields messages. Call it within `locked`.

    Raises:
        ServiceUnavailable: a DVC command or a stage uses data/.
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
    """Raise if atomic_write data/ would lose a dataset that git and DVC could not restore.

    Raises:
        LesionflowError: data/ is not under DVC, data.dvc is not committed, or data/ has changes.
        ServiceUnavailable: a DVC command or a stage uses data/.
    """
    if not DATA_POINTER.exists():
        if DATA.exists():
            raise LesionflowError(
                f"{DATA}/ exists but DVC does not track it. Run `dvc add {DATA}` and commit {DATA_POINTER}, or move {DATA}/ away."
            )
        return
    if _git("--no-optional-locks", "status", "--porcelain", "--", str(DATA_POINTER)):
        raise LesionflowError(
            f"{DATA_POINTER} is not committed, so git could not restore its dataset. Run `git add {DATA_POINTER} && git commit`."
        )
    with exclusive() as repo:
        if DATA.exists() and repo.status(targets=[str(DATA_POINTER)]):
            raise LesionflowError(
                f"{DATA}/ has changes that DVC does not track. Run `dvc add {DATA}` and commit to keep them,"
                f" or `dvc checkout {DATA_POINTER}` to discard them."
            )


def _git(*command: str) -> str:
    try:
        done = subprocess.run(["git", *command], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LesionflowError("git is not installed. This command needs it to keep the current dataset restorable.") from None
    if done.returncode != 0:
        raise LesionflowError(f"git status of {DATA_POINTER} failed: {' '.join(done.stderr.split())}")
    return done.stdout.strip()
