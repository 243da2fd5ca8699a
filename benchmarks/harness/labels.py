"""The nine diagnoses that the benchmarks' datasets are labeled with."""

from pathlib import Path

from components.data_quality.label_definitions import read_definition

ROOT = Path(__file__).resolve().parents[2]
_DEFINITION = read_definition(ROOT / "labels" / "isic9.yaml")
ISIC9 = _DEFINITION.label_set(_DEFINITION.classes)
CLASSES = ISIC9.outputs
