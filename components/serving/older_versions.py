"""Loads a version of an older release by MLflow, with TensorFlow: it has no predictor of its own."""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.errors import LesionflowError, UnreadableImageError
from components.runtime.tensorflow import load_tensorflow
from components.serving import packaging
from components.serving.answers import Answer, Contract, answer

if TYPE_CHECKING:
    import pandas as pd

CODE = "code"
"""Folder of a logged model that MLflow adds to Python's path."""
BATCH = 64
"""Number of images whose bytes are in memory at once."""
WARNING = (
    "it was registered by an older release: it has only probabilities and, of some releases, prediction sets; it starts slowly, and"
    " nothing says whether an image is like those of its training. Register its model again with `dvc repro`"
)


@dataclass(frozen=True)
class ServedModel:
    """`model`: the model loaded by MLflow; `unreadable`: exceptions that its code raises for bytes that are not a supported image;
    `contract`: what its candidate.json promises."""

    model: Any
    unreadable: tuple[type[Exception], ...]
    contract: Contract = field(default_factory=Contract)
    warning: str | None = WARNING

    def predict(self, content: bytes) -> Answer:
        """Answer about an image, as `Predictor.predict`."""
        table, reasons = self.answers([content])
        if reasons:
            raise UnreadableImageError(reasons[0])
        row = table.to_dict("records")[0]
        return answer(self.contract, row.pop("diagnosis"), row)

    def predict_lesion(self, contents: Sequence[bytes]) -> Answer:
        """Answer about an image.

        Raises:
            LesionflowError: there are several; only a version of this release averages them.
        """
        if len(contents) != 1:
            raise LesionflowError(
                "a version that was registered by an older release answers about one image, not about several of a lesion"
            )
        return self.predict(contents[0])

    def answers(self, contents: Iterable[bytes]) -> "tuple[pd.DataFrame, dict[int, str]]":
        """Predict images, given as bytes.

        A batch with an unreadable file is halved until that file is isolated, so that no image is decoded only to check whether it is
        readable.

        Returns:
            One row for each readable image, in order, indexed by its number; and the reason for each unreadable image, by number.
        """
        import pandas as pd

        tables: list[pd.DataFrame] = []
        reasons: dict[int, str] = {}
        for batch in _batches(enumerate(contents)):
            todo = [batch]
            while todo:
                part = todo.pop()
                try:
                    table = self.model.predict(pd.DataFrame({"image": [content for _, content in part]}))
                except self.unreadable as fault:
                    if len(part) == 1:
                        reasons[part[0][0]] = str(fault)
                    else:
                        todo += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    tables.append(table.set_axis([number for number, _ in part]))
        return (pd.concat(tables) if tables else pd.DataFrame()), reasons


def _batches(items: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    left = iter(items)
    return iter(lambda: list(islice(left, BATCH)), [])


def load_older(folder: Path) -> ServedModel:
    """Load a logged model from its folder."""
    load_tensorflow()
    import mlflow

    path = sys.path
    with _self_contained(folder) as ready:
        try:
            model = mlflow.pyfunc.load_model(str(ready))
        finally:
            sys.path = path  # MLflow puts a version's code before everything else, for every later import
        packages = [found.name for found in (ready / CODE).glob(f"{packaging.PREFIX}*")]
    errors = [module for name, module in sys.modules.items() if name.partition(".")[0] in packages and name.endswith(".errors")]
    unreadable = (getattr(module, "UnreadableImageError", None) or module.UnreadableImage for module in errors)  # its name in older code
    return ServedModel(model, tuple(unreadable), Contract.of_folder(folder))


@contextmanager
def _self_contained(folder: Path) -> Iterator[Path]:
    """Yield the logged model's folder or, for a version whose code was logged as `components`, a copy in which the package is renamed.

    Otherwise the checkout's modules of that name, which are already imported, would be used.
    """
    older = folder / CODE / packaging.PROJECT
    if not older.is_dir():
        yield folder
        return
    modules = {path.stem: path for path in older.glob("*.py") if path.name != "__init__.py"}
    with tempfile.TemporaryDirectory() as place:
        ready = Path(shutil.copytree(folder, Path(place) / "model", ignore=shutil.ignore_patterns(CODE)))
        code = packaging.write({**modules, packaging.ENTRY: folder / f"{packaging.ENTRY}.py"}, ready / CODE)
        code.entry.replace(ready / code.entry.name)
        yield ready
