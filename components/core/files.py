"""Whole files or none: outputs appear under their name only when they are complete."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.errors import LesionflowError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; when the block ends well, it takes `target`'s place.

    The block may make a file or a folder there. When it raises, or the process is killed, `target` is as it was, and what was
    left beside it is swept away by the next call. A process that is killed between the two renames that change one folder for
    another leaves no `target`, and the next call brings the old one back first.
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
    """Write `document` with sorted keys; NaN is refused, since JSON has none."""
    with replacing(path) as draft:
        text = json.dumps(document, indent=2, sort_keys=True, allow_nan=False)
        draft.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read what an earlier stage wrote.

    Raises:
        LesionflowError: the file is not there, so that stage has not run.
    """
    return json.loads(existing(path).read_text(encoding="utf-8"))


def existing(path: Path) -> Path:
    """`path`, if it is there.

    Raises:
        LesionflowError: it is not, with the command that makes it.
    """
    if not path.exists():
        raise LesionflowError(f"{path} is not there: run `dvc repro`, which makes it")
    return path


def sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
