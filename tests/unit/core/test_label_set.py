import pytest
from pydantic import ValidationError

from components.core import former_formats
from components.core.label_set import LabelSet, metric_label
from tests.support.labels import BENIGN_MALIGNANT, ISIC9, RASH


def test_targets_follow_output_order():
    assert ISIC9.encode(ISIC9.outputs) == list(range(9))
    assert ISIC9.logits == 9
    assert BENIGN_MALIGNANT.encode(["malignant", "benign"]) == [1, 0]
    assert BENIGN_MALIGNANT.logits == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": ("nevus",), "malignant": (), "critical": None}, "two or more"),
        ({"outputs": ("nevus", "nevus"), "malignant": (), "critical": None}, "two or more different"),
        ({"malignant": ("eczema",)}, "eczema is not an output"),
        ({"critical": "nevus"}, "'nevus' is not a malignant output"),
    ],
)
def test_inconsistent_label_set_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        LabelSet(**{**ISIC9.model_dump(), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": ISIC9.outputs[:-1]},
        {"outputs": ISIC9.outputs[::-1]},
        {"malignant": tuple(name for name in ISIC9.malignant if name != "basal_cell_carcinoma")},
        {"critical": None},
    ],
)
def test_identity_depends_on_meaning_and_not_on_name(changes):
    assert ISIC9.model_copy(update={"name": "renamed"}).identity == ISIC9.identity
    assert ISIC9.model_copy(update={"malignant": ISIC9.malignant[::-1]}).identity == ISIC9.identity
    assert ISIC9.model_copy(update=changes).identity != ISIC9.identity


def test_metric_label_names_critical_class():
    assert ISIC9.metric_label("critical_sensitivity") == "melanoma sensitivity"
    assert ISIC9.metric_label("balanced_accuracy") == "balanced accuracy"
    assert metric_label("critical_sensitivity", None) == "critical sensitivity"


def test_malignancy_is_told_only_with_malignant_and_benign_outputs():
    assert ISIC9.separates_malignant
    assert not RASH.separates_malignant
    all_malignant = LabelSet(name="isic9", outputs=ISIC9.malignant, malignant=ISIC9.malignant, critical="melanoma")
    assert not all_malignant.separates_malignant


@pytest.mark.parametrize(("task", "labels"), [("multiclass", ISIC9), ("binary", BENIGN_MALIGNANT)])
def test_file_that_names_a_task_gets_its_label_set(task, labels):
    assert LabelSet(**former_formats.with_label_set({"task": task})["label_set"]) == labels
    assert former_formats.with_label_set({"task": "unknown"}) == {"task": "unknown"}
