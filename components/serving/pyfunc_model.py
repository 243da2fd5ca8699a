"""The registered model as MLflow loads it: image bytes in, the named diagnosis and calibrated probabilities out.

MLflow stores this file next to the model and runs it wherever the model is served, with copies of the project modules that it imports,
made when the model was registered (packaging.py): a served model decodes images with the code it was trained with.
"""

import os
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from components.core import decision
from components.imaging import images

INPUT = "image"


class LesionClassifier(PythonModel):
    """Maps frames with a column `image` of JPEG or PNG bytes to frames with `diagnosis` and one probability per output."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the Keras model and candidate.json, which names its outputs."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import json
        from pathlib import Path

        import keras

        folder = Path(context.artifacts["candidate"])
        self.candidate = json.loads((folder / "candidate.json").read_text(encoding="utf-8"))
        self.network = keras.models.load_model(folder / "model.keras", compile=False)

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict each row.

        Raises:
            UnreadableImageError: a row's bytes are not a supported JPEG or PNG.
        """
        read, names = images.pixel_loader(self.candidate), list(self.candidate["outputs"])
        pixels = np.stack([read(bytes(content)) for content in model_input[INPUT]])
        found = self.network.predict(pixels.astype(np.float32), batch_size=64, verbose=0)
        if found.shape[1] == 1:
            found = np.concatenate([1 - found, found], axis=1)
        frame = pd.DataFrame(found.astype(np.float64), columns=names)
        frame.insert(0, "diagnosis", np.array(names)[decision.named_outputs(found, self.candidate.get("decision_offsets", ()))])
        return frame


set_model(LesionClassifier())
