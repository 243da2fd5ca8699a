"""Logs a candidate as an MLflow model that can be served."""

import tempfile
from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from components.serving import packaging
from components.serving.contents import FILE, write_digests
from components.tracking.store import mlflow_errors

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

SERVING = Path(packaging.__file__).with_name("pyfunc_model.py")
EXAMPLE = Path(__file__).with_name("example.png")
"""The model's input example: a synthetic lesion, since no patient image may be stored in the registry."""
REQUIREMENTS = ("ai-edge-litert", "mlflow", "numpy", "pandas", "pillow", "pydantic")
PREDICTED_FROM = ("candidate", "export", "index")
"""Artifacts of which a predictor reads files, each held to its sha256."""


def log_model(run_id: str, folders: Sequence[Path], outputs: Sequence[str]) -> str:
    """Log the candidate to its run as a pyfunc model that takes image bytes; return the model's URI.

    Args:
        run_id: ID of the candidate's run.
        folders: what goes with the version, under each folder's own name: build/candidate/, build/export/, the evidence and others.
        outputs: names of the probabilities in the signature, in order.
    """
    import mlflow
    import pandas as pd
    from mlflow.models import Model

    class NotServedYet(Model):
        """Model whose input example is not predicted while it is logged: that would take seconds, and MLflow only warns on failure."""

        def get_serving_input(self, path: str) -> None:  # noqa: ARG002
            return None

    with tempfile.TemporaryDirectory() as folder:
        code = packaging.write(packaging.modules_of(SERVING), Path(folder) / "code")
        digests = Path(folder) / FILE
        write_digests(digests, {path.name: path for path in folders if path.name in PREDICTED_FROM})
        with code.importable(), mlflow.start_run(run_id=run_id), mlflow_errors("MLflow rejected the model"):
            logged = NotServedYet.log(
                artifact_path=None,
                name="model",
                flavor=mlflow.pyfunc,
                flavor_name="pyfunc.ModelFromCode",
                python_model=str(code.entry),
                artifacts={**{path.name: str(path) for path in folders}, "sha256": str(digests)},
                code_paths=[str(code.folder)],
                signature=_signature(outputs),
                input_example=pd.DataFrame({"image": [EXAMPLE.read_bytes()]}),
                pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
                metadata={"outputs": list(outputs)},
            )
    return str(logged.model_uri)


def _signature(outputs: Sequence[str]) -> "ModelSignature":
    """What the pyfunc model takes and gives (pyfunc_model.py)."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    answer = [
        ColSpec(DataType.string, "diagnosis"),
        *(ColSpec(DataType.double, name) for name in outputs),
        ColSpec(DataType.double, "malignant_probability", required=False),
        ColSpec(DataType.boolean, "alarm"),
        ColSpec(DataType.string, "abstained"),
        ColSpec(DataType.string, "prediction_set"),
    ]
    return ModelSignature(Schema([ColSpec(DataType.binary, "image")]), Schema(answer))
