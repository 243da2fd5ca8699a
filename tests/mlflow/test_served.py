"""A registered version predicts with the code that was logged with it; older/ is the code of older versions."""

import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from components.core.errors import LesionflowError
from components.core.files import write_json
from components.imaging import images
from components.modeling import serialization
from components.modeling.determinism import seed_generators
from components.registry import reevaluation
from components.serving import loading, logged_model, packaging
from tests.mlflow.conftest import MD5, MODEL
from tests.support.labels import CLASSES, ISIC9
from tests.support.project import ROOT
from tests.support.versions import as_tflite

keras = pytest.importorskip("keras")

SIZE = 16
OLDER = Path(__file__).with_name("older")


@pytest.fixture(scope="module")
def network():
    """A network from pixels to nine probabilities that depend on every pixel."""
    seed_generators(0)
    pixels = keras.Input((SIZE, SIZE, 3))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels))
    return keras.Model(pixels, keras.layers.Dense(9, activation="softmax")(flat))


@pytest.fixture
def candidate(registry, network):
    folder = registry.root / "candidate"
    serialization.save_classifier(network, folder / "model.keras")
    write_json(folder / "candidate.json", {"image_size": SIZE, "outputs": list(CLASSES)})
    return folder


@pytest.fixture
def image_bytes(registry):
    return [path.read_bytes() for path in sorted((registry.root / "data").rglob("*.png"))[:6]]


def new_run(registry):
    return registry.get_version(registry.register_version()).run_id


def log_current(registry, candidate):
    """Log a version as the pipeline does."""
    run = new_run(registry)
    evidence = registry.root / "evidence"
    evidence.mkdir(exist_ok=True)
    (evidence / "measured.json").write_text("{}")
    export = registry.root / "export"
    export.mkdir(exist_ok=True)
    network = keras.models.load_model(candidate / "model.keras", compile=False)
    (export / "model_float32.tflite").write_bytes(as_tflite(network))
    uri = logged_model.log_model(run, [candidate, export, evidence], CLASSES)
    return registry.client.create_model_version(MODEL, uri, run_id=run)


@contextmanager
def import_components_from(code):
    """Import `components` from this folder instead of the checkout, as in the process that logged an older version."""
    own_modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "components"}
    path = sys.path
    try:
        for name in own_modules:
            del sys.modules[name]
        sys.path = [str(code), *path]
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "components"]:
            del sys.modules[name]
        sys.modules.update(own_modules)
        sys.path = path


def log_with_components_package(registry, candidate, change=lambda text: text):
    """Log a version as when its code was a package named `components`, with this change to its images.py."""
    code = registry.root / f"older{len(list(registry.root.iterdir()))}"
    shutil.copytree(OLDER, code)
    path = code / "components/images.py"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    run = new_run(registry)
    with import_components_from(code), mlflow.start_run(run_id=run):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(code / "serving.py"),
            code_paths=[str(code / "components")],
            artifacts={"candidate": str(candidate)},
            pip_requirements=[],
        )
    return registry.client.create_model_version(MODEL, logged.model_uri, run_id=run)


def log_with_flat_package(registry, candidate, change=lambda text: text):
    """Log a version as when the package that it is served with had no folders."""
    modules = {"serving": OLDER / "serving.py", "images": OLDER / "components/images.py", "errors": OLDER / "components/errors.py"}
    code = packaging.write(modules, registry.root / f"flat{len(list(registry.root.iterdir()))}")
    path = code.folder / "images.py"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    run = new_run(registry)
    with code.importable(), mlflow.start_run(run_id=run):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(code.entry),
            code_paths=[str(code.folder)],
            artifacts={"candidate": str(candidate)},
            pip_requirements=[],
        )
    return registry.client.create_model_version(MODEL, logged.model_uri, run_id=run)


def as_png(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def expected(network, image_bytes, preprocess=lambda pixels: pixels):
    return network(np.stack([preprocess(images.load_pixels(content, SIZE)) for content in image_bytes]).astype(np.float32)).numpy()


def predict(version, image_bytes):
    table, unreadable = loading.load_version(version).answers(image_bytes)
    assert not unreadable
    return table[list(CLASSES)].to_numpy(dtype=float)


def invert_pixels(text):
    return text.replace("return fit(decode(content), size)", "return 255 - fit(decode(content), size)")


@pytest.mark.parametrize("log_version", [log_current, log_with_components_package, log_with_flat_package])
def test_predict_command_ignores_changed_preprocessing_of_checkout(registry, candidate, network, image_bytes, log_version):
    version = log_version(registry, candidate)
    checkout = registry.root / "checkout"
    shutil.copytree(ROOT / "components", checkout / "components", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "app", checkout / "app", ignore=shutil.ignore_patterns("__pycache__"))
    path = checkout / "components/imaging/images.py"
    changed = "\n\ndef center_square_resize(image, size):\n    return np.zeros((size, size, 3), np.uint8)\n"
    path.write_text(path.read_text(encoding="utf-8") + changed)
    files = [str(path) for path in sorted((registry.root / "data").rglob("*.png"))[:6]]
    result = subprocess.run(
        [sys.executable, "-m", "app.cli", "predict", "--format", "json", "--model-version", str(version.version), *files, "none.png"],
        cwd=registry.root,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1 and result.stderr.strip().endswith("none.png: no such file or directory"), result.stderr
    *rows, unread = json.loads(result.stdout)
    assert (unread["image"], unread["error"], unread["probabilities"]) == ("none.png", "no such file or directory", None)
    probabilities = np.array([[row["probabilities"][name] for name in CLASSES] for row in rows])
    assert np.abs(probabilities - expected(network, image_bytes)).max() < 1e-5


def test_versions_in_one_process_use_their_own_preprocessing(registry, candidate, network, image_bytes, monkeypatch):
    own_module, path = sys.modules["components.imaging.images"], list(sys.path)
    first, second, newer = (
        log_with_components_package(registry, candidate),
        log_with_components_package(registry, candidate, invert_pixels),
        log_current(registry, candidate),
    )
    plain, negative = expected(network, image_bytes), expected(network, image_bytes, lambda pixels: 255 - pixels)
    assert np.abs(plain - negative).max() > 0.1
    monkeypatch.setattr(images, "center_square_resize", lambda _, size: np.zeros((size, size, 3), np.uint8))
    both = [loading.load_version(version) for version in (first, second)]
    tables = [served.answers(image_bytes)[0] for served in (*both, *reversed(both))]
    for table, probabilities in zip(tables, (plain, negative, negative, plain), strict=True):
        assert np.abs(table[list(CLASSES)].to_numpy(dtype=float) - probabilities).max() < 1e-5
    assert np.abs(predict(newer, image_bytes) - plain).max() < 1e-5
    assert sys.modules["components.imaging.images"] is own_module
    assert sys.path == path


@pytest.mark.parametrize("log_version", [log_current, log_with_components_package, log_with_flat_package])
def test_unreadable_files_are_reported_with_reason_of_version(registry, candidate, network, image_bytes, log_version):
    table, unreadable = loading.load_version(log_version(registry, candidate)).answers([image_bytes[0], b"text", b"", image_bytes[1]])
    assert unreadable == {1: "not a JPEG or PNG image", 2: "empty file"}
    assert np.abs(table[list(CLASSES)].to_numpy(dtype=float) - expected(network, image_bytes[:2])).max() < 1e-5


def test_mlflow_serves_version_without_project_modules(registry, candidate, network, image_bytes):
    version = log_current(registry, candidate)
    folder = mlflow.artifacts.download_artifacts(f"models:/{MODEL}/{version.version}")
    code = sorted(path.name for path in Path(folder, "code").iterdir())
    assert len(code) == 1 and code[0].startswith("lesionflow_served_")
    pd.DataFrame({"image": image_bytes}).to_pickle(registry.root / "images.pickle")
    script = f"""
import sys, mlflow, pandas
answer = mlflow.pyfunc.load_model({folder!r}).predict(pandas.read_pickle("images.pickle"))
assert not [name for name in sys.modules if name.partition(".")[0] in ("components", "tensorflow", "keras")]
answer.to_pickle("answer.pickle")
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", script], cwd=registry.root, env=environment, check=True)
    probabilities = pd.read_pickle(registry.root / "answer.pickle")[list(CLASSES)].to_numpy(dtype=float)
    assert np.abs(probabilities - expected(network, image_bytes)).max() < 1e-5


def test_command_line_predicts_without_tensorflow_and_mlflow(registry, candidate, network, image_bytes):
    version = log_current(registry, candidate)
    (registry.root / "one.png").write_bytes(image_bytes[0])
    script = f"""
import sys
from app.cli import main
try:
    main(["predict", "--format", "jsonl", "--version", "{version.version}", "one.png"])
finally:
    heavy = {{name.partition(".")[0] for name in sys.modules}} & {{"tensorflow", "keras", "mlflow", "pandas", "sqlalchemy"}}
    assert not heavy, heavy
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", script], cwd=registry.root, env=environment, check=True, capture_output=True, text=True)
    probabilities = json.loads(result.stdout)["probabilities"]
    assert np.abs(np.array([probabilities[name] for name in CLASSES]) - expected(network, image_bytes[:1])[0]).max() < 1e-5


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_version_with_damaged_export_is_refused_by_name(registry, candidate, damage):
    version = log_current(registry, candidate)
    path = loading.download(version) / "artifacts/export/model_float32.tflite"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LesionflowError, match=rf"(?s)export/model_float32\.tflite .*{damage}"):
        loading.load_version(version)


def test_version_of_older_release_says_so(registry, candidate, image_bytes):
    served = loading.load_version(log_with_flat_package(registry, candidate))
    assert "registered by an older release" in served.warning
    found = served.predict(image_bytes[0])
    assert found.prediction_set is None and found.view_spread is None and found.similar == ()
    with pytest.raises(LesionflowError, match="about one image"):
        served.predict_lesion(image_bytes[:2])
    assert loading.load_version(log_current(registry, candidate)).warning is None


def test_reevaluation_uses_code_of_version_and_hashes_of_catalog(registry, candidate, network, monkeypatch):
    version = log_with_components_package(registry, candidate, invert_pixels)
    test_images = registry.predictions(0).images.iloc[::7]
    image_bytes = [(registry.root / "data" / path).read_bytes() for path in test_images["path"]]
    negative = expected(network, image_bytes, lambda pixels: 255 - pixels)
    assert np.abs(reevaluation.reevaluate(version, test_images, ISIC9, MD5).probabilities - negative).max() < 1e-5
    scanned = [reevaluation.hashlib.sha256(content).hexdigest() for content in image_bytes]
    pd.DataFrame({"sha256": scanned, "pixels_sha256": list(test_images["pixels_sha256"])}).to_parquet(
        registry.root / "build/catalog.parquet"
    )

    def decode(_):
        raise AssertionError("decoded")

    monkeypatch.setattr(images, "decode", decode)
    reevaluation.require_same_images(test_images, MD5)


def test_predict_command_refuses_version_that_does_not_exist(registry, run_cli):
    registry.register_version()
    for wanted, said in (("99", "has no version 99"), ("production", "has no production")):
        result = run_cli("predict", "--version", wanted, "lesion.png")
        assert result.exit_code == 1
        assert said in result.stderr and "`dvc repro` trains and registers one" in result.stderr
