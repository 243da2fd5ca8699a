"""Finds a registered version and loads it for `lesionflow predict`."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from app.models import predict
from app.models.lookup import FoundVersion, find_version
from app.models.prediction_rows import RowForm
from components.serving import loading
from components.serving.loading import ServedPredictor
from components.serving.older_versions import ServedModel

Served = ServedPredictor | ServedModel


@dataclass
class ServedVersion:
    """A loaded version, as `predict.Version`.

    Attributes:
        rows: its name, and the form of its rows.
        threads: number of predictors that may work at once; one for a version of an older release.
        warnings: what a person should know about it.
    """

    rows: RowForm
    threads: int
    warnings: list[str]
    _load: Callable[[], Served]
    _ready: list[Served]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def predictor(self) -> predict.Predictor:
        """A predictor for one thread: first the one that is loaded, then new ones."""
        with self._lock:  # loading changes the path of imports, which all threads share
            return self._ready.pop() if self._ready else self._load()


def load(model: str, wanted: str) -> ServedVersion:
    """Load a version of the registered model.

    Args:
        model: name of the registered model.
        wanted: an alias, as "champion", or a version number.

    Raises:
        LesionflowError: the version does not exist or cannot be loaded, or MLflow does not answer.
    """
    found = find_version(model, wanted)
    served = _loaded(found)
    warnings = [*found.warnings, *([f"version {found.number}: {served.warning}"] if served.warning else [])]
    return ServedVersion(
        rows=RowForm(model, found.number, served.contract),
        threads=predict.THREADS if isinstance(served, ServedPredictor) else 1,
        warnings=warnings,
        _load=lambda: _loaded(found),
        _ready=[served],
    )


def _loaded(found: FoundVersion) -> Served:
    return loading.load_folder(found.folder, f"version {found.number} of {found.model}")
