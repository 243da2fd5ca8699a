"""Saves the training state after every epoch, so that an interrupted run can resume."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.files import atomic_write, read_json, write_json

if TYPE_CHECKING:
    import keras

EpochLogs = list[dict[str, float]]


@dataclass(frozen=True)
class Checkpoint:
    """Folder of the training state, and `identity`, which covers everything that determines the result: state with a different identity
    is ignored."""

    folder: Path
    identity: str

    def resume(self, model: "keras.Model") -> tuple[EpochLogs, list[Any] | None]:
        """Restore a built, compiled model to its state after the last complete epoch.

        Returns:
            Metrics of the epochs so far and the weights of the best one; an empty list and None if there is no checkpoint.
        """
        if not self._is_ours():
            return [], None
        model.load_weights(self.folder / "best.weights.h5")
        best = model.get_weights()
        model.load_weights(self.folder / "last.weights.h5")
        return read_json(self.folder / "epochs.json")["epochs"], best

    def save(self, model: "keras.Model", epochs: EpochLogs, improved: bool) -> None:
        """Save the weights and the optimizer's state; `improved`: this epoch is the best so far."""
        with atomic_write(self.folder) as draft:
            draft.mkdir()
            model.save_weights(draft / "last.weights.h5")
            best = draft / "last.weights.h5" if improved else self.folder / "best.weights.h5"
            shutil.copyfile(best, draft / "best.weights.h5")
            write_json(draft / "epochs.json", {"identity": self.identity, "epochs": epochs})

    def clear(self) -> None:
        """Delete the checkpoint after the trained model has been saved."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_ours(self) -> bool:
        path = self.folder / "epochs.json"
        return path.exists() and read_json(path)["identity"] == self.identity
