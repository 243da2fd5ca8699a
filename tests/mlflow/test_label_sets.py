"""A candidate whose outputs or their meaning differ from the champion's is never promoted automatically."""

import numpy as np
import pytest

from components import register
from components.core.files import read_json
from components.core.label_set import LabelSet
from components.core.paths import REGISTRATION
from components.evaluation.predictions import Predictions
from components.registry import version_tags
from components.runtime import params_file
from tests.mlflow.conftest import parse_json
from tests.support.labels import BENIGN_MALIGNANT, CLASSES, ISIC9, RASH

WITHOUT_ONE_CLASS = LabelSet(name="isic9", outputs=CLASSES[1:], malignant=ISIC9.malignant[1:], critical="melanoma")
DECLARED_BENIGN = ISIC9.model_copy(update={"malignant": tuple(name for name in ISIC9.malignant if name != "basal_cell_carcinoma")})


def run_register() -> dict:
    register.register(params_file.load())
    return read_json(REGISTRATION)


def perfect(registry, labels: LabelSet) -> Predictions:
    """Correct predictions of the registry's images under another label set; images without an output are left out."""
    images = registry.predictions(0).images
    if labels == BENIGN_MALIGNANT:
        images = images.assign(diagnosis=["malignant" if name in ISIC9.malignant else "benign" for name in images["diagnosis"]])
    images = images[images["diagnosis"].isin(labels.outputs)].reset_index(drop=True)
    truth = labels.encode(images["diagnosis"])
    return Predictions(images, np.eye(len(labels.outputs))[truth] * 0.9 + 0.1 / len(labels.outputs), labels)


@pytest.fixture
def automatic(registry):
    """A registry with a champion that errs, and lenient floors."""
    registry.set_params("register", promotion="automatic", min_test_groups=1, min_critical_groups=1, max_calibration_error=1.0)
    registry.write_candidate(registry.predictions(1))
    assert run_register()["champion"] == "1"
    return registry


@pytest.mark.parametrize(
    ("labels", "change"),
    [
        (WITHOUT_ONE_CLASS, "lost: actinic keratosis"),
        (DECLARED_BENIGN, "no longer malignant: basal cell carcinoma"),
        (BENIGN_MALIGNANT, "gained: benign, malignant"),
    ],
    ids=["class dropped", "malignant class declared benign", "another label set"],
)
def test_better_candidate_with_other_outputs_becomes_only_challenger(automatic, run_cli, labels, change):
    automatic.write_candidate(perfect(automatic, labels), split="split b")
    report = run_register()
    assert (report["version"], report["champion"], report["gate_passed"]) == ("2", "1", False)
    failed = [rule for rule in report["gate"] if not rule["passed"]]
    assert [rule["name"] for rule in failed] == ["same classes as the champion"]
    assert change in failed[0]["says"]
    assert automatic.champion() == "1"
    shown = parse_json(run_cli("champion", "show", "--format", "json").stdout)
    assert shown["challenger"]["label_set"] == labels.model_dump(mode="json")
    assert run_cli("champion", "promote", "2").exit_code == 1
    assert run_cli("champion", "promote", "2", "--override", "the clinic asks for it").exit_code == 0
    assert automatic.champion() == "2"


def test_same_outputs_under_another_name_are_compared(automatic):
    automatic.write_candidate(perfect(automatic, ISIC9.model_copy(update={"name": "own"})))
    report = run_register()
    assert report["champion"] == "2"
    assert {"same classes as the champion", "balanced accuracy kept against the champion"} <= {rule["name"] for rule in report["gate"]}


def test_version_without_malignant_classes_is_registered_and_promoted(registry):
    registry.set_params("register", promotion="automatic", min_test_groups=1)
    images = registry.predictions(0).images.iloc[:16].assign(diagnosis=np.repeat(RASH.outputs, 4))
    registry.write_candidate(Predictions(images, np.eye(4)[RASH.encode(images["diagnosis"])], RASH))
    report = run_register()
    assert report["champion"] == "1"
    assert "no critical class" in next(rule["says"] for rule in report["gate"] if rule["name"] == "critical class")
    tags = registry.get_version("1").tags
    assert version_tags.label_set_of(tags) == RASH
    assert "test.critical_sensitivity" not in tags
    assert "Malignant: none" in registry.get_version("1").description


def test_champion_tagged_with_a_task_is_compared_with_a_candidate_of_the_same_classes(registry):
    registry.set_params("register", promotion="automatic")
    champion = registry.register_legacy_version(registry.predictions(0))
    for name in version_tags.label_set_tags(ISIC9):
        registry.client.delete_model_version_tag(registry.champion_state().model, champion, name)
    registry.client.set_model_version_tag(registry.champion_state().model, champion, "task", "multiclass")
    registry.move_champion(champion)
    registry.write_candidate(registry.predictions(0))
    report = run_register()
    assert next(rule for rule in report["gate"] if rule["name"] == "same classes as the champion")["passed"]
    assert "balanced accuracy kept against the champion" in [rule["name"] for rule in report["gate"]]
