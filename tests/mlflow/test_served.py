"""A registered version answers by its own code, through a real MLflow store; older/ is the code that versions were logged with before."""

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

from components.core.classes import CLASSES
from components.core.files import write_json
from components.imaging import images
from components.modeling import serialization
from components.registry import reevaluation
from components.serving import loading, logged_model, packaging
from tests.mlflow.conftest import MD5, MODEL
from tests.support.project import ROOT

keras = pytest.importorskip("keras")

SIZE = 16
OLDER = Path(__file__).with_name("older")


@pytest.fixture(scope="module")
def network():
    """Pixels to nine probabilities that depend on every pixel."""
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIZE, SIZE, 3))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels))
    return keras.Model(pixels, keras.layers.Dense(9, activation="softmax")(flat))


@pytest.fixture
def candidate(lab, network):
    folder = lab.root / "candidate"
    serialization.save_classifier(network, folder / "model.keras")
    write_json(folder / "candidate.json", {"image_size": SIZE, "outputs": list(CLASSES)})
    return folder


@pytest.fixture
def contents(lab):
    return [path.read_bytes() for path in sorted((lab.root / "data").rglob("*.png"))[:6]]


def run_of(lab):
    return lab.get(lab.version()).run_id


def registered(lab, candidate):
    """A version as the pipeline logs one today."""
    run = run_of(lab)
    evidence = lab.root / "evidence"
    evidence.mkdir(exist_ok=True)
    (evidence / "measured.json").write_text("{}")
    uri = logged_model.log_model(run, candidate, evidence, "multiclass")
    return lab.client.create_model_version(MODEL, uri, run_id=run)


@contextmanager
def project_of_before(code):
    """Let `components` be the package of that folder, as it was for the process that logged it, and today's again afterwards."""
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "components"}
    path = sys.path
    try:
        for name in ours:
            del sys.modules[name]
        sys.path = [str(code), *path]
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "components"]:
            del sys.modules[name]
        sys.modules.update(ours)
        sys.path = path


def registered_before(lab, candidate, change=lambda text: text):
    """A version as it was logged when its code was a package named `components`, with this change to its images.py."""
    code = lab.root / f"older{len(list(lab.root.iterdir()))}"
    shutil.copytree(OLDER, code)
    path = code / "components/images.py"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    run = run_of(lab)
    with project_of_before(code), mlflow.start_run(run_id=run):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(code / "serving.py"),
            code_paths=[str(code / "components")],
            artifacts={"candidate": str(candidate)},
            pip_requirements=[],
        )
    return lab.client.create_model_version(MODEL, logged.model_uri, run_id=run)


def registered_flat(lab, candidate, change=lambda text: text):
    """A version as it was logged when the package that it is served with had no folders."""
    modules = {"serving": OLDER / "serving.py", "images": OLDER / "components/images.py", "errors": OLDER / "components/errors.py"}
    code = packaging.write(modules, lab.root / f"flat{len(list(lab.root.iterdir()))}")
    path = code.folder / "images.py"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    run = run_of(lab)
    with code.importable(), mlflow.start_run(run_id=run):
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(code.entry),
            code_paths=[str(code.folder)],
            artifacts={"candidate": str(candidate)},
            pip_requirements=[],
        )
    return lab.client.create_model_version(MODEL, logged.model_uri, run_id=run)


def as_png(picture):
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def expected(network, contents, see=lambda pixels: pixels):
    return network(np.stack([see(images.load_pixels(content, SIZE)) for content in contents]).astype(np.float32)).numpy()


def answers(version, contents):
    table, unreadable = loading.load_version(version).answers(contents)
    assert not unreadable
    return table[list(CLASSES)].to_numpy(dtype=float)


def inverted(text):
    return text.replace("return fit(decode(content), size)", "return 255 - fit(decode(content), size)")


@pytest.mark.parametrize("logged", [registered, registered_before, registered_flat])
def test_a_changed_checkout_predicts_as_was_recorded_by_the_real_command(lab, candidate, network, contents, logged):
    version = logged(lab, candidate)
    checkout = lab.root / "checkout"
    shutil.copytree(ROOT / "components", checkout / "components", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "app", checkout / "app", ignore=shutil.ignore_patterns("__pycache__"))
    path = checkout / "components/imaging/images.py"
    changed = "\n\ndef center_square_resize(image, size):\n    return np.zeros((size, size, 3), np.uint8)\n"
    path.write_text(path.read_text(encoding="utf-8") + changed)
    files = [str(path) for path in sorted((lab.root / "data").rglob("*.png"))[:6]]
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "predict", "--format", "json", "--model-version", str(version.version), *files, "none.png"],
        cwd=lab.root,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.strip().endswith("none.png: no such file or directory"), done.stderr
    rows = json.loads(done.stdout)
    found = np.array([[row["probabilities"][name] for name in CLASSES] for row in rows])
    assert np.abs(found - expected(network, contents)).max() < 1e-5


def test_older_versions_with_different_preprocessing_each_use_their_own_in_one_process(lab, candidate, network, contents, monkeypatch):
    ours, path = sys.modules["components.imaging.images"], list(sys.path)
    first, second, newer = registered_before(lab, candidate), registered_before(lab, candidate, inverted), registered(lab, candidate)
    plain, negative = expected(network, contents), expected(network, contents, lambda pixels: 255 - pixels)
    assert np.abs(plain - negative).max() > 0.1
    monkeypatch.setattr(images, "center_square_resize", lambda _, size: np.zeros((size, size, 3), np.uint8))
    both = [loading.load_version(version) for version in (first, second)]
    found = [one.answers(contents)[0][list(CLASSES)].to_numpy(dtype=float) for one in (*both, *reversed(both))]
    for probabilities, wanted in zip(found, (plain, negative, negative, plain), strict=True):
        assert np.abs(probabilities - wanted).max() < 1e-5
    assert np.abs(answers(newer, contents) - plain).max() < 1e-5
    assert sys.modules["components.imaging.images"] is ours
    assert sys.path == path


@pytest.mark.parametrize("logged", [registered, registered_before, registered_flat])
def test_files_that_are_not_images_are_named_with_the_versions_own_reason(lab, candidate, network, contents, logged):
    table, unreadable = loading.load_version(logged(lab, candidate)).answers([contents[0], b"text", b"", contents[1]])
    assert unreadable == {1: "not a JPEG or PNG image", 2: "empty file"}
    assert np.abs(table[list(CLASSES)].to_numpy(dtype=float) - expected(network, contents[:2])).max() < 1e-5


def test_mlflow_alone_serves_a_version_without_any_module_of_the_project(lab, candidate, network, contents):
    version = registered(lab, candidate)
    folder = mlflow.artifacts.download_artifacts(f"models:/{MODEL}/{version.version}")
    code = sorted(path.name for path in Path(folder, "code").iterdir())
    assert len(code) == 1 and code[0].startswith("lesionflow_served_")
    pd.DataFrame({"image": contents}).to_pickle(lab.root / "asked.pickle")
    script = f"""
import sys, mlflow, pandas
answer = mlflow.pyfunc.load_model({folder!r}).predict(pandas.read_pickle("asked.pickle"))
assert not [name for name in sys.modules if name.partition(".")[0] == "components"]
answer.to_pickle("answer.pickle")
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", script], cwd=lab.root, env=environment, check=True)
    found = pd.read_pickle(lab.root / "answer.pickle")[list(CLASSES)].to_numpy(dtype=float)
    assert np.abs(found - expected(network, contents)).max() < 1e-5


def test_a_version_is_measured_again_by_its_own_code_and_files_that_were_scanned_are_not_decoded_to_recognise_them(
    lab, candidate, network, monkeypatch
):
    version = registered_before(lab, candidate, inverted)
    wanted = lab.scored(0).images.iloc[::7]
    contents = [(lab.root / "data" / path).read_bytes() for path in wanted["path"]]
    negative = expected(network, contents, lambda pixels: 255 - pixels)
    assert np.abs(reevaluation.reevaluate(version, wanted, "multiclass", MD5).probabilities - negative).max() < 1e-5
    scanned = [reevaluation.hashlib.sha256(content).hexdigest() for content in contents]
    pd.DataFrame({"sha256": scanned, "pixels_sha256": list(wanted["pixels_sha256"])}).to_parquet(lab.root / "build/catalog.parquet")

    def decode(_):
        raise AssertionError("decoded")

    monkeypatch.setattr(images, "decode", decode)
    reevaluation.require_same_images(wanted, MD5)
