"""Predictions of a loaded version, and packaging of its serving code; without TensorFlow."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest

from components.core.errors import UnreadableImageError
from components.serving import logged_model, older_versions, packaging


class CountingModel:
    """A model that predicts the text of each image and records the images that it decodes."""

    def __init__(self):
        self.decoded = []

    def predict(self, frame):
        for content in frame["image"]:
            self.decoded.append(content)
            if content.startswith(b"bad"):
                raise UnreadableImageError(f"{content.decode()} is not an image")
        return pd.DataFrame({"diagnosis": [content.decode() for content in frame["image"]]})


def test_answers_are_in_order_with_reasons_for_unreadable_images():
    contents = [b"bad 0", *(f"good {number}".encode() for number in range(1, 130)), b"bad 130"]
    contents[70] = b"bad 70"
    table, reasons = older_versions.ServedModel(CountingModel(), (UnreadableImageError,)).answers(contents)
    assert reasons == {number: f"bad {number} is not an image" for number in (0, 70, 130)}
    assert list(table.index) == [number for number in range(131) if number not in reasons]
    assert list(table["diagnosis"]) == [f"good {number}" for number in table.index]


def test_answers_decodes_each_image_once_and_reads_one_batch_ahead():
    version, yielded = CountingModel(), []

    def contents():
        for number in range(3 * older_versions.BATCH):
            assert number - len(version.decoded) < older_versions.BATCH
            yielded.append(number)
            yield b"good"

    older_versions.ServedModel(version, (UnreadableImageError,)).answers(contents())
    assert len(version.decoded) == len(yielded) == 3 * older_versions.BATCH


def test_answers_to_no_images_is_empty_table():
    assert older_versions.ServedModel(SimpleNamespace(), ()).answers([])[0].empty


def test_answers_raises_other_errors_of_model():
    def predict(_):
        raise KeyError("broken")

    with pytest.raises(KeyError):
        older_versions.ServedModel(SimpleNamespace(predict=predict), (UnreadableImageError,)).answers([b"x"])


def test_package_has_modules_of_serving_and_no_project_imports(tmp_path):
    modules = packaging.modules_of(logged_model.SERVING)
    assert {"serving", "serving.predictor", "serving.network", "imaging.images", "core.decision", "core.errors"} <= set(modules)
    code = packaging.write(modules, tmp_path / "first")
    assert code.name == packaging.write(modules, tmp_path / "again").name
    texts = [path.read_text(encoding="utf-8") for path in (code.entry, *code.folder.rglob("*.py"))]
    assert not any(f"from {packaging.PROJECT}" in text for text in texts)
    written = {".".join(path.relative_to(code.folder).with_suffix("").parts) for path in code.folder.rglob("*.py")}
    assert {name for name in written if not name.endswith("__init__")} == set(modules) - {"serving"}


def test_served_code_imports_neither_tensorflow_nor_mlflow_nor_pandas(tmp_path):
    code = packaging.write(packaging.modules_of(logged_model.SERVING), tmp_path)
    heavy = ["tensorflow", "keras", "mlflow", "pandas", "scipy", "sklearn", "pyarrow", "matplotlib", "components"]
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import {code.name}.serving.predictor, ai_edge_litert.interpreter
assert not {{name.partition(".")[0] for name in sys.modules}} & {{*{heavy}}}
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)


def test_package_name_depends_on_text_of_modules(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "entry.py").write_text("from components import leaf\n", encoding="utf-8")
    (tmp_path / "leaf.py").write_text("from components.deep.deeper import (\n    x,\n)\n", encoding="utf-8")
    (tmp_path / "deep/deeper.py").write_text("x = 1\n", encoding="utf-8")
    modules = packaging.modules_of(tmp_path / "entry.py", tmp_path)
    assert set(modules) == {"serving", "leaf", "deep.deeper"}
    first = packaging.write(modules, tmp_path / "a")
    assert first.entry.read_text(encoding="utf-8") == f"from {first.name} import leaf\n"
    assert (first.folder / "leaf.py").read_text(encoding="utf-8") == f"from {first.name}.deep.deeper import (\n    x,\n)\n"
    (tmp_path / "deep/deeper.py").write_text("x = 2\n", encoding="utf-8")
    assert packaging.write(modules, tmp_path / "b").name != first.name


@pytest.mark.parametrize("line", ["import components.imaging.images", "from . import images", "from .images import read"])
def test_unsupported_form_of_import_is_refused(tmp_path, line):
    (tmp_path / "entry.py").write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="served code must import project modules with"):
        packaging.modules_of(tmp_path / "entry.py", tmp_path)
