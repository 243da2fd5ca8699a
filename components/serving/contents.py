"""The files of a version that its predictor reads, each with its sha256: `sha256.json` beside the folders that it lists."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import LesionflowError
from components.core.files import sha256, write_json

FILE = "sha256.json"
WAY_OUT = "Use another version, or register this candidate again: `dvc repro --force --single-item register`"


@dataclass(frozen=True)
class Contents:
    """The folder of a version's artifacts, and the hex sha256 of each file by its path there, as `export/server.tflite`."""

    folder: Path
    digests: Mapping[str, str]

    @classmethod
    def of_folder(cls, folder: Path) -> "Contents":
        """Read sha256.json.

        Raises:
            LesionflowError: it is missing or damaged.
        """
        try:
            digests = json.loads((folder / FILE).read_text(encoding="utf-8"))
        except OSError:
            raise LesionflowError(f"the version's {FILE} is missing in {folder}. {WAY_OUT}") from None
        except ValueError:
            digests = None
        if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
            raise LesionflowError(f"the version's {FILE} in {folder} is damaged. {WAY_OUT}")
        return cls(folder, digests)

    def __contains__(self, name: object) -> bool:
        """Whether the version was registered with this file."""
        return name in self.digests

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            LesionflowError: it is missing, or is not as it was registered.
        """
        try:
            content = (self.folder / name).read_bytes()
        except OSError:
            content = None
        if content is None or name not in self.digests:
            raise LesionflowError(f"the version's file {name} is missing in {self.folder}. {WAY_OUT}")
        if hashlib.sha256(content).hexdigest() != self.digests[name]:
            raise LesionflowError(f"the version's file {name} in {self.folder} was changed after it was registered. {WAY_OUT}")
        return content


def write_digests(target: Path, folders: Mapping[str, Path]) -> None:
    """Write sha256.json: the sha256 of each file in these folders, by the name that each folder has in the version."""
    write_json(
        target,
        {
            f"{name}/{path.relative_to(folder).as_posix()}": sha256(path)
            for name, folder in folders.items()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    )
