"""Predictions of a loaded version, and packaging of its serving code; without TensorFlow."""

from types import SimpleNamespace

import pandas as pd
import pytest

from components.core.errors import UnreadableImageError
from components.serving import loading, logged_model, packaging


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
    table, reasons = loading.ServedModel(CountingModel(), (UnreadableImageError,)).answers(contents)
    assert reasons == {number: f"bad {number} is not an image" for number in (0, 70, 130)}
    assert list(table.index) == [number for number in range(131) if number not in reasons]
    assert list(table["diagnosis"]) == [f"good {number}" for number in table.index]


def test_answers_decodes_each_image_once_and_reads_one_batch_ahead():
    version, yielded = CountingModel(), []

    def contents():
        for number in range(3 * loading.BATCH):
            assert number - len(version.decoded) < loading.BATCH
            yielded.append(number)
            yield b"good"

    loading.ServedModel(version, (UnreadableImageError,)).answers(contents())
    assert len(version.decoded) == len(yielded) == 3 * loading.BATCH


def test_answers_to_no_images_is_empty_table():
    assert loading.ServedModel(SimpleNamespace(), ()).answers([])[0].empty


def test_answers_raises_other_errors_of_model():
    def predict(_):
        raise KeyError("broken")

    with pytest.raises(KeyError):
        loading.ServedModel(SimpleNamespace(predict=predict), (UnreadableImageError,)).answers([b"x"])


def test_package_has_modules_of_serving_and_no_project_imports(tmp_path):
    modules = packaging.modules_of(logged_model.SERVING)
    assert set(modules) == {"serving", "imaging.images", "imaging.headers", "core.decision", "core.errors"}
    code = packaging.write(modules, tmp_path / "first")
    assert code.name == packaging.write(modules, tmp_path / "again").name
    texts = [path.read_text(encoding="utf-8") for path in (code.entry, *code.folder.rglob("*.py"))]
    assert not any(f"from {packaging.PROJECT}" in text for text in texts)
    written = {path.relative_to(code.folder).as_posix() for path in code.folder.rglob("*.py")}
    assert written == {
        "__init__.py",
        "core/__init__.py",
        "core/decision.py",
        "core/errors.py",
        "imaging/__init__.py",
        "imaging/headers.py",
        "imaging/images.py",
    }


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
