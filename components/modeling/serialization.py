"""Saves Keras files reproducibly: equal models give equal bytes."""

import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.errors import LesionflowError, first_line
from components.core.files import atomic_write, require_file, sha256

if TYPE_CHECKING:
    import keras


ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
SHARED_OBJECT = re.compile(rb'("shared_object_id": )(\d+)')


def save_classifier(classifier: "keras.Model", path: Path) -> None:
    """Write a .keras file whose bytes depend only on the model; Keras' own files contain the time and memory addresses."""
    with atomic_write(path) as draft:
        raw = draft.with_name(f".{path.stem}.raw.keras")
        try:
            classifier.save(raw)
            with zipfile.ZipFile(raw) as source, zipfile.ZipFile(draft, "w") as target:
                for name in source.namelist():
                    target.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), _remove_nondeterminism(name, source.read(name)))
        finally:
            raw.unlink(missing_ok=True)


def _remove_nondeterminism(name: str, content: bytes) -> bytes:
    if name == "metadata.json":
        version = json.loads(content)["keras_version"]
        return json.dumps({"keras_version": version, "date_saved": "1980-01-01@00:00:00"}).encode()
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return SHARED_OBJECT.sub(lambda found: found[1] + str(numbers.setdefault(found[2], len(numbers))).encode(), content)
    return content


def load_classifier(path: Path) -> "keras.Model":
    """Load a saved classifier.

    Raises:
        LesionflowError: the file is missing or is not a saved Keras model.
    """
    import keras

    try:
        classifier = keras.models.load_model(require_file(path), compile=False)
    except (OSError, ValueError) as fault:
        raise LesionflowError(f"{path} is not a saved classifier: {first_line(fault)}") from None
    return classifier


def classifier_sha256(path: Path) -> str:
    """Hex sha256 of a saved classifier; `save_classifier` ensures that equal models have equal bytes."""
    return sha256(require_file(path))
