"""Paths of the files that stages exchange."""

from pathlib import Path

DATA = Path("data")
DATA_POINTER = Path("data.dvc")
UNFINISHED_SWAP = Path(".data.importing/swap.json")
"""Exists while an import replaces data/, and after an import was killed during the replacement."""

LABELS = Path("labels")
"""Folder of the label sets, one YAML file each; only `validate`, `evaluate` and the import read it."""
UTILITIES = Path("utilities")
"""Folder of the tables of rewards, one YAML file each."""

CATALOG = Path("build/catalog.parquet")
LABEL_SET = Path("build/label_set.json")
QUARANTINE = Path("build/quarantine.csv")
FINDINGS = Path("build/findings.csv")
SCANS = Path("build/scans")
"""Cached scan results by content hash; not a stage output, since it does not affect any output."""
SPLITS = Path("build/splits.parquet")
SHARDS = Path("build/shards")
RESOLUTION = SHARDS / "resolution.json"
"""Resolution in pixels to which every image in the shards was downsampled; null without downsampling."""
FEATURES = Path("build/features")
FROZEN = Path("build/frozen")
FINETUNED = Path("build/finetuned")
CHECKPOINT = Path("build/checkpoint")
"""State of an unfinished fine-tuning; not a stage output, since the stage deletes it when it succeeds."""
FEATURE_CACHE = Path("build/maps")
"""Cached outputs of the frozen blocks for an unfinished fine-tuning; deleted, like the checkpoint, when the stage succeeds."""
CANDIDATE = Path("build/candidate")
EXPORTED = Path("build/export")
SERVER_NETWORK = EXPORTED / "server.tflite"
"""The network that a version is served with: float32, with features and maps beside the probabilities."""
INDEX = Path("build/index")
"""Features of the training images, which a version searches for similar cases."""

REPORTS = Path("reports")
CURVES = REPORTS / "curves"
EVALUATION_PLOTS = REPORTS / "evaluation"
EVALUATION = REPORTS / "evaluation.json"
CLINIC = REPORTS / "clinic.json"
HEADLINE = REPORTS / "metrics.json"
EXPORT_REPORT = REPORTS / "export.json"
INDEX_REPORT = REPORTS / "index.json"
REGISTRATION = REPORTS / "registration.json"
CROSS_VALIDATION = REPORTS / "cross_validation.json"
CROSS_VALIDATION_PLOTS = REPORTS / "cross_validation"
TUNING = REPORTS / "tuning.json"
TUNING_PLOTS = REPORTS / "tuning"
RUN_REPORT = REPORTS / "report.html"

PREDICTIONS_FILENAME = "test_predictions.parquet"
"""File name of the candidate's probabilities on test, in build/candidate and in its MLflow run."""

MODEL_FILENAME = "model.keras"
"""File name of the saved classifier in build/frozen, build/finetuned and build/candidate."""
