"""Where stages meet: the files that one writes and others read."""

from pathlib import Path

DATA = Path("data")
DATA_POINTER = Path("data.dvc")
UNFINISHED_SWAP = Path(".data.importing/swap.json")
"""There while an import replaces data/, and after one that was killed while it did."""

CATALOG = Path("build/catalog.parquet")
QUARANTINE = Path("build/quarantine.csv")
FINDINGS = Path("build/findings.csv")
SCANS = Path("build/scans")
"""What scans gave, by content; no stage's output, since it decides nothing."""
SPLITS = Path("build/splits.parquet")
SHARDS = Path("build/shards")
RESOLUTION = SHARDS / "resolution.json"
"""The one resolution of every picture in the shards, in pixels; null where each is as sharp as it came."""
FEATURES = Path("build/features")
FROZEN = Path("build/frozen")
FINETUNED = Path("build/finetuned")
CHECKPOINT = Path("build/checkpoint")
"""State of an unfinished fine-tuning; no stage's output, since it is gone when the stage ends well."""
MAPS = Path("build/maps")
"""What frozen blocks made of the views of an unfinished fine-tuning; gone, like the checkpoint, when the stage ends well."""
CANDIDATE = Path("build/candidate")
EXPORTED = Path("build/export")

REPORTS = Path("reports")
CURVES = REPORTS / "curves"
FIGURES = REPORTS / "evaluation"
EVALUATION = REPORTS / "evaluation.json"
EXPORT_REPORT = REPORTS / "export.json"
REGISTRATION = REPORTS / "registration.json"

PREDICTIONS = "test_predictions.parquet"
"""Name of the candidate's probabilities on test, in build/candidate and in its MLflow run."""

MODEL = "model.keras"
"""Name of the saved classifier in build/frozen, build/finetuned and build/candidate."""
