"""The result of each fold on disk, so that an interrupted cross-validation continues, and a repeated one has nothing to do."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components import search, training
from components.core.files import atomic_write, read_json, write_json
from components.core.label_set import LabelSet
from components.evaluation.predictions import Predictions
from components.runtime.params import Settings
from components.runtime.tensorflow import thread_count
from components.search.identity import code_sha256, sha256_of
from components.search.measurement import FoldPredictions

FOLDER = Path("build/cv/folds")
DECIDING = (search, training)
"""Packages whose code decides the result of a fold, beside that of the features."""


@dataclass(frozen=True)
class FoldResults:
    """Results in a folder, which is named after everything that determines them."""

    folder: Path
    labels: LabelSet

    @classmethod
    def of_settings(cls, features: str, settings: Settings, labels: LabelSet, folder: Path = FOLDER) -> "FoldResults":
        """Results of these settings; `features`: identity of the features."""
        phase = settings.cross_validation.phase
        described = {
            "phase": phase,
            "finetune": settings.finetune.model_dump() if phase == "finetuned" else None,
            "features": features,
            "labels": labels.identity,
            "train": settings.train.model_dump(),
            "folds": settings.cross_validation.folds,
            "sensitivity": settings.evaluate.target_critical_sensitivity,
            "seed": settings.seed,
            "threads": thread_count(),
            "code": code_sha256(*DECIDING),
        }
        return cls(folder / sha256_of(described)[:16], labels)

    def read(self, repeat: int, number: int) -> FoldPredictions | None:
        """The result of a fold, or None if there is none."""
        place = self._place(repeat, number)
        if not place.exists():
            return None
        held_out = Predictions.of_table(pd.read_parquet(place / "held_out.parquet"), self.labels)
        return FoldPredictions(repeat, number, held_out, **read_json(place / "fold.json"))

    def write(self, fold: FoldPredictions) -> None:
        """Keep a result."""
        with atomic_write(self._place(fold.repeat, fold.number)) as draft:
            draft.mkdir()
            fold.held_out.table().to_parquet(draft / "held_out.parquet", index=False)
            write_json(draft / "fold.json", {"trained": fold.trained, "epochs": fold.epochs})

    def _place(self, repeat: int, number: int) -> Path:
        return self.folder / f"repeat_{repeat}_fold_{number}"
