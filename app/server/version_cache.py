"""Versions that were fetched from a registry, and the one that answered last, which a start without network answers with."""

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from app.models.lookup import FoundVersion
from components.core.files import write_json
from components.serving import loading

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

LAST = "last.json"
"""File that has the version that answered last, by what was wanted: an alias or a number."""
INCOMPLETE = "incomplete-"


@dataclass(frozen=True)
class VersionCache:
    """The versions of one registered model.

    Attributes:
        folder: where they are kept.
        model: the registered model.
    """

    folder: Path
    model: str

    @classmethod
    def of(cls, root: Path, registry: str, model: str) -> "VersionCache":
        """The versions of a model in a folder for those of every registry; `registry` is its URI."""
        digest = hashlib.sha256(f"{registry}\n{model}".encode()).hexdigest()[:16]
        return cls(root.absolute() / f"{quote(model, safe='')}-{digest}", model)

    def fetch(self, version: "ModelVersion") -> Path:
        """The folder of a version, which is fetched if it was not before.

        Raises:
            LesionflowError: MLflow does not respond, or the version's files are missing.
        """
        made = f"{version.source}\n{version.creation_timestamp}"
        target = self.folder / f"{version.version}-{hashlib.sha256(made.encode()).hexdigest()[:16]}"
        if not target.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=INCOMPLETE, dir=self.folder))
            try:
                os.rename(loading.download(version, partial), target)  # noqa: PTH104 (fails if another process was first, and then is not needed)
            except OSError:
                if not target.exists():
                    raise
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return target

    def remember(self, wanted: str, found: FoundVersion) -> None:
        """Keep which version answers, if it was fetched; another lies where it was registered."""
        if found.folder.parent == self.folder:
            write_json(self.folder / LAST, self._last() | {wanted: {"number": found.number, "folder": found.folder.name}})

    def last(self, wanted: str) -> FoundVersion | None:
        """The version that answered last; None if none was fetched."""
        entry = self._last().get(wanted)
        if not isinstance(entry, dict):
            return None
        folder = self.folder / Path(str(entry.get("folder"))).name
        return FoundVersion(self.model, str(entry.get("number")), folder) if folder.is_dir() else None

    def forget(self, found: FoundVersion) -> None:
        """Remove a damaged version, so that it is fetched again."""
        if found.folder.parent == self.folder:
            shutil.rmtree(found.folder, ignore_errors=True)

    def _last(self) -> dict[str, object]:
        try:
            content = json.loads((self.folder / LAST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
