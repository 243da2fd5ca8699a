"""Logging a candidate as a model that MLflow can serve."""

import tempfile
from importlib.metadata import version as installed
from pathlib import Path

import pandas as pd

from components.core.classes import output_names
from components.serving import packaging
from components.tracking.store import told

SERVING = Path(packaging.__file__).with_name("pyfunc_model.py")
EXAMPLE = Path(__file__).with_name("example.png")
"""The model's input example: a nevus of the bundled sample's kind, since no patient's picture goes into the registry."""
REQUIREMENTS = ("tensorflow", "keras", "mlflow", "pillow", "numpy", "pandas")


def log_model(run_id: str, candidate: Path, evidence: Path, task: str) -> str:
    """Log the candidate into its run, to be loaded as a pyfunc that takes image bytes; returns the model's URI.

    Args:
        run_id: the candidate's run.
        candidate: build/candidate/.
        evidence: the folder that `evidence.write` made.
        task: which outputs the signature names.
    """
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    class NotServedYet(Model):
        """Its example is not answered while it is logged: that would load TensorFlow, and MLflow only warns where it fails."""

        def get_serving_input(self, path: str) -> None:  # noqa: ARG002
            return None

    outputs = [ColSpec(DataType.string, "diagnosis"), *(ColSpec(DataType.double, name) for name in output_names(task))]
    signature = ModelSignature(Schema([ColSpec(DataType.binary, "image")]), Schema(outputs))
    with tempfile.TemporaryDirectory() as folder:
        code = packaging.write(packaging.modules_of(SERVING), Path(folder))
        with code.importable(), mlflow.start_run(run_id=run_id), told("MLflow refused the model"):
            logged = NotServedYet.log(
                artifact_path=None,
                name="model",
                flavor=mlflow.pyfunc,
                flavor_name="pyfunc.ModelFromCode",
                python_model=str(code.entry),
                artifacts={"candidate": str(candidate), "evidence": str(evidence)},
                code_paths=[str(code.folder)],
                signature=signature,
                input_example=pd.DataFrame({"image": [EXAMPLE.read_bytes()]}),
                pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
                metadata={"outputs": list(output_names(task))},
            )
    return str(logged.model_uri)
