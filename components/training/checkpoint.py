"""Training that survives being stopped: after every epoch what it takes to go on is on disk, whole."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.files import read_json, replacing, write_json

if TYPE_CHECKING:
    import keras

Rows = list[dict[str, float]]


@dataclass(frozen=True)
class Checkpoint:
    """Where a training's state is kept, and `identity`, all that decides what it computes: another's state is never taken up."""

    folder: Path
    identity: str

    def resume(self, model: "keras.Model") -> tuple[Rows, list[Any] | None]:
        """Put a built, compiled model back as it was after the last whole epoch.

        Returns:
            The figures of the epochs so far, and the weights of the best; none of either where there is nothing to go on from.
        """
        if not self._is_ours():
            return [], None
        model.load_weights(self.folder / "best.weights.h5")
        best = model.get_weights()
        model.load_weights(self.folder / "last.weights.h5")
        return read_json(self.folder / "epochs.json")["epochs"], best

    def save(self, model: "keras.Model", epochs: Rows, improved: bool) -> None:
        """Keep the weights and the optimiser's state; `improved` says that this epoch is the best so far."""
        with replacing(self.folder) as draft:
            draft.mkdir()
            model.save_weights(draft / "last.weights.h5")
            best = draft / "last.weights.h5" if improved else self.folder / "best.weights.h5"
            shutil.copyfile(best, draft / "best.weights.h5")
            write_json(draft / "epochs.json", {"identity": self.identity, "epochs": epochs})

    def clear(self) -> None:
        """Forget it: the training is done and its model saved."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_ours(self) -> bool:
        path = self.folder / "epochs.json"
        return path.exists() and read_json(path)["identity"] == self.identity
