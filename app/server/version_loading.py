"""Loads a version for the service, or says how to register one that it can load."""

from app.models.lookup import FoundVersion
from components.core.errors import LesionflowError, first_line
from components.serving import loading
from components.serving.contents import FILE, Contents
from components.serving.loading import ServedPredictor

NEEDED = ("export/server.tflite", "index/index.json")
"""Files without which a version gives no maps, no similar cases and no reason to abstain."""
WAY_OUT = "Register a version with this release: `dvc repro`, or `dvc repro --force --single-item register` where no stage changed."


def load_predictors(found: FoundVersion, count: int) -> list[ServedPredictor]:
    """Load a version: one predictor for each thread. They share the network's file and the index.

    Args:
        found: the version.
        count: number of threads.

    Raises:
        LesionflowError: the version has no index or export, or a file is missing or damaged.
    """
    name = f"version {found.number} of {found.model}"
    try:
        return _load(found, name, count)
    except LesionflowError:
        raise
    except Exception as fault:  # a version brings its own code, which may be of another release or need what is not installed
        raise LesionflowError(f"{name} cannot be loaded: {type(fault).__name__}: {first_line(fault)}. {WAY_OUT}") from None


def _load(found: FoundVersion, name: str, count: int) -> list[ServedPredictor]:
    artifacts = found.folder / loading.ARTIFACTS
    if not (artifacts / FILE).is_file():
        raise LesionflowError(f"{name} was registered by an older release and cannot be served. {WAY_OUT}")
    contents = Contents.of_folder(artifacts)
    missing = [needed for needed in NEEDED if needed not in contents]
    if missing:
        raise LesionflowError(f"{name} has no {' and no '.join(missing)}, so it cannot be served. {WAY_OUT}")
    first = loading.load_folder(found.folder, name)
    if not isinstance(first, ServedPredictor):
        raise LesionflowError(f"{name} was registered by an older release and cannot be served. {WAY_OUT}")
    return [first, *(_another(first, found, name) for _ in range(count - 1))]


def _another(first: ServedPredictor, found: FoundVersion, name: str) -> ServedPredictor:
    shared = first.for_another_thread()
    if shared is not None:
        return shared
    loaded = loading.load_folder(found.folder, name)  # the version's own code is of a release that shared nothing
    assert isinstance(loaded, ServedPredictor)
    return loaded
