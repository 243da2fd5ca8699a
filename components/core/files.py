"""Atomic writes: an output appears under its final name only when it is complete."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.errors import LesionflowError


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path next to `target`; when the block ends without an error, it replaces `target`.

    The block may create a file or a folder there. If it raises, or the process is killed, `target` is unchanged, and the next call
    deletes the temporary files. Replacing a folder takes two renames; if the process is killed between them, there is no `target`,
    and the next call first restores the old one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.partial")
    before = target.with_name(f".{target.name}.replaced")
    if before.exists() and not target.exists():
        before.replace(target)
    _remove(draft)
    _remove(before)
    try:
        yield draft
        if target.is_dir():
            target.replace(before)
        draft.replace(target)
        _remove(before)
    except BaseException:
        _remove(draft)
        if before.exists() and not target.exists():
            before.replace(target)
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Write `document` with sorted keys; NaN is an error, since JSON does not support it."""
    with atomic_write(path) as draft:
        text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False)
        draft.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file written by an earlier stage.

    Raises:
        LesionflowError: the file does not exist because the stage has not run.
    """
    return json.loads(require_file(path).read_text(encoding="utf-8"))


def require_file(path: Path) -> Path:
    """Return `path` if it exists.

    Raises:
        LesionflowError: it does not exist; the message names the command that creates it.
    """
    if not path.exists():
        raise LesionflowError(f"{path} does not exist. Run `dvc repro` to create it.")
    return path


def sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
