"""Logs a candidate as an MLflow model that can be served."""

import tempfile
from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path

import pandas as pd

from components.serving import packaging
from components.tracking.store import mlflow_errors

SERVING = Path(packaging.__file__).with_name("pyfunc_model.py")
EXAMPLE = Path(__file__).with_name("example.png")
"""The model's input example: a synthetic lesion, since no patient image may be stored in the registry."""
REQUIREMENTS = ("tensorflow", "keras", "mlflow", "pillow", "numpy", "pandas")


def log_model(run_id: str, folders: Sequence[Path], outputs: Sequence[str]) -> str:
    """Log the candidate to its run as a pyfunc model that takes image bytes; return the model's URI.

    Args:
        run_id: ID of the candidate's run.
        folders: the folders of the version, which become artifacts under their names: build/candidate/, and those that `evidence`
            and the model card were written to.
        outputs: names of the probabilities in the signature, in order.
    """
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    class NotServedYet(Model):
        """Model whose input example is not predicted while it is logged: that would load TensorFlow, and MLflow only warns on failure."""

        def get_serving_input(self, path: str) -> None:  # noqa: ARG002
            return None

    answer = [ColSpec(DataType.string, "diagnosis"), *(ColSpec(DataType.double, name) for name in outputs)]
    signature = ModelSignature(Schema([ColSpec(DataType.binary, "image")]), Schema(answer))
    with tempfile.TemporaryDirectory() as temporary:
        code = packaging.write(packaging.modules_of(SERVING), Path(temporary))
        with code.importable(), mlflow.start_run(run_id=run_id), mlflow_errors("MLflow rejected the model"):
            logged = NotServedYet.log(
                artifact_path=None,
                name="model",
                flavor=mlflow.pyfunc,
                flavor_name="pyfunc.ModelFromCode",
                python_model=str(code.entry),
                artifacts={folder.name: str(folder) for folder in folders},
                code_paths=[str(code.folder)],
                signature=signature,
                input_example=pd.DataFrame({"image": [EXAMPLE.read_bytes()]}),
                pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
                metadata={"outputs": list(outputs)},
            )
    return str(logged.model_uri)
