"""The registered model as MLflow loads it: image bytes in, the named diagnosis, calibrated probabilities and more out.

MLflow stores this file next to the model and runs it wherever the model is served, with copies of the project modules that it imports,
made when the model was registered (packaging.py): a served model decodes images with the code it was trained with.
"""

import threading
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from components.serving.predictor import Predictor

INPUT = "image"


class LesionClassifier(PythonModel):
    """Maps frames with a column `image` of JPEG or PNG bytes to frames with an answer a row: `diagnosis`, one probability per output,
    `malignant_probability` (missing if the label set does not tell malignant from benign), `alarm`, `abstained` (the reasons, empty if
    it is answered) and `prediction_set`."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the version's predictor."""
        self.predictor = Predictor.of_folder(Path(context.artifacts["candidate"]).parent)
        self.free = threading.Lock()

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answer each row. A caller does not show the diagnosis of a row that is abstained from.

        Raises:
            UnreadableImageError: a row's bytes are not a supported JPEG or PNG.
        """
        with self.free:
            answers = [self.predictor.predict(bytes(content)) for content in model_input[INPUT]]
        rows = [
            {
                "diagnosis": found.diagnosis,
                **found.probabilities,
                "malignant_probability": found.malignant,
                "alarm": found.alarm,
                "abstained": "; ".join(found.abstained),
                "prediction_set": ", ".join(found.prediction_set or ()),
            }
            for found in answers
        ]
        return pd.DataFrame(rows).astype({"malignant_probability": float})


set_model(LesionClassifier())
