"""Reads test predictions of older releases."""

import pandas as pd

from components.core.former_formats import BINARY, MULTICLASS
from components.core.label_set import LabelSet


def with_output_diagnoses(predictions: pd.DataFrame, labels: LabelSet) -> pd.DataFrame:
    """Test predictions whose diagnoses are outputs of the model. Those of the former binary task hold the nine diagnoses; their figure of
    the critical class was that of one of them, which a column `critical` keeps."""
    diagnoses = predictions["diagnosis"]
    if labels.identity != BINARY.identity or diagnoses.isin(BINARY.outputs).all():
        return predictions
    names = diagnoses.isin(MULTICLASS.malignant).map({True: "malignant", False: "benign"})
    return predictions.assign(diagnosis=names, critical=diagnoses == MULTICLASS.critical)
