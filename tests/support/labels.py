"""The label sets that tests use."""

from components.core.former_formats import BINARY, MULTICLASS
from components.core.label_set import LabelSet
from components.data_quality.label_definitions import read_definition
from tests.support.project import ROOT

ISIC9, BENIGN_MALIGNANT = MULTICLASS, BINARY
CLASSES, MALIGNANT = ISIC9.outputs, ISIC9.malignant
ISIC9_DEFINITION = read_definition(ROOT / "labels/isic9.yaml")
RASH = LabelSet(name="rash", outputs=("acne", "eczema", "psoriasis", "rosacea"), malignant=(), critical=None)
"""A label set of a lab's own, without a malignant class."""
