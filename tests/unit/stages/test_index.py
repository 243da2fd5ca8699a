import io

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from components import index
from components.core.paths import CANDIDATE, CATALOG, DATA, INDEX, INDEX_REPORT, MODEL_FILENAME, SERVER_NETWORK, SPLITS
from components.core.reports.index import IndexReport
from components.core.reports.index_contents import Cases, IndexContents
from components.exporting.tflite import convert_to_tflite
from components.imaging import images
from components.imaging.model_input import ModelInput
from components.modeling import serialization
from components.runtime.params_file import parse
from components.serving.activation import Head
from components.serving.neighbours import Index
from components.serving.network import Network
from components.serving.sight import Eye
from tests.support import documents, models
from tests.support.images import encoded, noise
from tests.support.labels import CLASSES
from tests.support.planted import PLANTED, exif, found_in
from tests.support.project import ROOT

SIZE = 32
SIDES = {"train": 36, "validation": 18, "test": 18}

pytestmark = pytest.mark.slow


def split_of(side: str, count: int) -> pd.DataFrame:
    """Images of a side, which write patients and lesions into names and metadata."""
    numbers = np.arange(count)
    return pd.DataFrame(
        {
            "path": [f"{CLASSES[number % 9]}/{PLANTED[0]}_{side}_{number}.jpg" for number in numbers],
            "isic_id": [f"{PLANTED[3]}_{side}_{number}" for number in numbers],
            "diagnosis": [CLASSES[number % 9] for number in numbers],
            "patient_id": [f"{PLANTED[1]}_{side}_{number // 4}" for number in numbers],
            "lesion_id": [f"{PLANTED[2]}_{side}_{number // 2}" for number in numbers],
            "collection": np.where(numbers % 2, "synthetic", "HAM10000"),
            "pixels_sha256": [f"{side}{number}" for number in numbers],
            "group": [1000 * list(SIDES).index(side) + number // 4 for number in numbers],
            "side": side,
        }
    )


@pytest.fixture(scope="module")
def network():
    classifier = models.depthwise_classifier(SIZE)
    return classifier, convert_to_tflite(classifier, "server", tuple)


@pytest.fixture(scope="module")
def project(tmp_path_factory, network):
    """A project in which `export` and `index` have run, with names and ids of patients in all that names an image."""
    classifier, content = network
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        patch.setattr(index, "PICTURES_PER_KIND", 2)
        splits = pd.concat([split_of(side, count) for side, count in SIDES.items()], ignore_index=True)
        for number, path in enumerate(splits["path"]):
            (DATA / path).parent.mkdir(parents=True, exist_ok=True)
            (DATA / path).write_bytes(encoded(noise(number, 80), exif=exif(), quality=95))
        SPLITS.parent.mkdir()
        splits.to_parquet(SPLITS)
        splits.drop(columns="side").assign(license="CC BY-NC 4.0", attribution="MILK study team").to_parquet(CATALOG)
        CANDIDATE.mkdir()
        serialization.save_classifier(classifier, CANDIDATE / MODEL_FILENAME)
        documents.candidate(image_size=SIZE, abstention_threshold=0.2).write(CANDIDATE / "candidate.json")
        SERVER_NETWORK.parent.mkdir()
        SERVER_NETWORK.write_bytes(content)
        run()
        yield splits


def run(max_novelty: float = 0.2) -> None:
    """Run the stage with the repository's params, but for `serve.max_novelty`."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["serve"]["max_novelty"] = max_novelty
    index.index_training(parse(params))


def test_index_has_no_path_patient_or_lesion(project):
    for folder in (INDEX, INDEX_REPORT.parent):
        assert found_in(folder) == []
    cases = Cases.read(INDEX / "cases.json")
    train = project[project["side"] == "train"]
    assert len(set(cases.key)) == train["lesion_id"].nunique()
    assert {(origin.collection, origin.license, origin.attribution) for origin in cases.origins} == {
        ("HAM10000", "CC BY-NC 4.0", "MILK study team"),
        ("synthetic", "CC BY-NC 4.0", "MILK study team"),
    }


def test_every_training_image_and_no_other_is_recognized(project):
    searched = Index.load(lambda name: (INDEX / name).read_bytes())
    eye = Eye(Network(SERVER_NETWORK.read_bytes()), ModelInput(SIZE, None), None)
    for row in project.itertuples():
        found = searched.search(eye.at_file((DATA / row.path).read_bytes()).features)
        assert found.in_training is (row.side == "train")
        assert row.side != "train" or found.similar[0].diagnosis == row.diagnosis
    report = IndexReport.read(INDEX_REPORT)
    assert (report.taken_for_training, report.training_images, report.training_lesions, report.images) == (0, 36, 18, 18)
    assert report.novelty.calibration_images > 0


def test_thumbnails_of_named_collections_have_no_metadata(project):
    cases, thumbnails = Cases.read(INDEX / "cases.json"), sorted((INDEX / "thumbnails").iterdir())
    pictured = [row for row, origin in enumerate(cases.origin) if cases.origins[origin].collection == "synthetic"]
    assert {path.name for path in thumbnails} == {f"{row}.jpg" for row in pictured}
    assert len(pictured) == (project[project["side"] == "train"]["collection"] == "synthetic").sum()
    for path in thumbnails:
        with Image.open(io.BytesIO(path.read_bytes())) as picture:
            assert picture.size == (224, 224)
            assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            assert not picture.getexif()


@pytest.mark.usefixtures("project")
def test_head_gives_the_logits_of_the_candidate(network):
    classifier, content = network
    outputs = Network(content).run(images.load_pixels(encoded(noise(500, 80)), SIZE))
    head = Head.of_bytes((INDEX / "head.npz").read_bytes())
    logits = np.array([head.map_of(outputs.maps, output).logit for output in range(9)]) * classifier.get_layer("temperature").scale
    scaled = np.exp(logits - logits.max())
    assert np.abs(scaled / scaled.sum() - outputs.probabilities).max() < 1e-5


@pytest.mark.usefixtures("project")
def test_equal_inputs_give_equal_files():
    def contents() -> dict[str, bytes]:
        return {path.relative_to(INDEX).as_posix(): path.read_bytes() for path in INDEX.rglob("*") if path.is_file()}

    before = contents()
    run()
    assert contents() == before


@pytest.mark.usefixtures("project")
def test_clinical_photographs_need_not_be_dermoscopic():
    (DATA / "dataset.yaml").write_text("image_type: clinical\nlabel_set: isic9\n")
    run()
    (DATA / "dataset.yaml").unlink()
    assert IndexContents.read(INDEX / "index.json").image_limits is None
    assert IndexReport.read(INDEX_REPORT).false_alarms.not_dermoscopic.value == 0


@pytest.mark.usefixtures("project")
def test_too_few_calibration_images_judge_nothing_as_unlike_training(capsys):
    run(max_novelty=0.001)
    assert IndexContents.read(INDEX / "index.json").novelty.threshold is None
    assert "calibration images are too few for serve.max_novelty 0.001" in capsys.readouterr().out
