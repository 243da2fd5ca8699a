import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import split
from components.core import catalog
from components.core.errors import LesionflowError
from components.core.label_set import LabelSet
from tests.support.labels import CLASSES, ISIC9, RASH


def rows(lesions_per_class: int, images_per_lesion: int) -> pd.DataFrame:
    images = [
        (f"{name}/{lesion}_{image}.jpg", name, f"{name}_{lesion}", f"{name}{lesion}{image}")
        for name in CLASSES
        for lesion in range(lesions_per_class)
        for image in range(images_per_lesion)
    ]
    frame = pd.DataFrame(images, columns=["path", "diagnosis", "lesion_id", "pixels_sha256"])
    return frame.assign(group=pd.factorize(frame["lesion_id"])[0], patient_id=None)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([(0.2, 0.2), (0.1, 0.15), (0.4, 0.4)]))
def test_groups_are_in_one_split_and_classes_in_all(seed, shares):
    images = rows(12, 3)
    groups = images["group"].to_numpy()
    images = images.assign(side=split.assign_splits(images["diagnosis"], groups, *shares, seed))
    split.require_no_leakage(images)
    assert abs((images["side"] == "test").mean() - shares[0]) < 0.06
    assert abs((images["side"] == "validation").mean() - shares[1]) < 0.06


def test_require_measurable_needs_benign_images():
    split.require_measurable(ISIC9)
    split.require_measurable(RASH)
    malignant = LabelSet(name="isic9", outputs=ISIC9.malignant, malignant=ISIC9.malignant, critical="melanoma")
    with pytest.raises(LesionflowError, match="every usable image is malignant"):
        split.require_measurable(malignant)


def test_same_seed_gives_same_split():
    images = rows(12, 2)
    groups = images["group"].to_numpy()
    first, repeated, other = (split.assign_splits(images["diagnosis"], groups, 0.2, 0.2, seed) for seed in (1, 1, 2))
    assert (first == repeated).all()
    assert (first != other).any()


def test_class_of_two_lesions_cannot_be_split():
    images = rows(12, 2)
    images = images[(images["diagnosis"] != "melanoma") | images["lesion_id"].isin(["melanoma_0", "melanoma_1"])]
    groups = images["group"].to_numpy()
    with pytest.raises(LesionflowError, match="melanoma has 2"):
        split.assign_splits(images["diagnosis"], groups, 0.2, 0.2, 0)


def test_split_without_a_class_is_refused():
    images = rows(12, 2)
    images = images.assign(side=split.assign_splits(images["diagnosis"], images["group"].to_numpy(), 0.2, 0.2, 0))
    with pytest.raises(LesionflowError, match="the test split has no melanoma"):
        split.require_no_leakage(images[(images["diagnosis"] != "melanoma") | (images["side"] != "test")])


@pytest.mark.parametrize("key", ["group", "lesion_id", "pixels_sha256"])
def test_require_no_leakage_refuses_value_in_two_splits(key):
    images = rows(3, 1)
    images = images.assign(group=range(len(images)), side=["train", "validation", "test"] * 9)
    split.require_no_leakage(images)
    images.loc[1, key] = images.loc[0, key]
    with pytest.raises(LesionflowError, match=f"{key} .* is in two splits"):
        split.require_no_leakage(images)


def test_split_hash_depends_on_labeled_images_only():
    images = rows(3, 1)
    assert catalog.split_hash(images) == catalog.split_hash(images.sample(frac=1, random_state=1))
    assert catalog.split_hash(images) == catalog.split_hash(images.assign(path="moved"))
    assert catalog.split_hash(images) != catalog.split_hash(images.assign(diagnosis="nevus"))


def test_patient_in_two_splits_is_refused_and_unknown_patients_are_not_one():
    images = rows(3, 1)
    images = images.assign(group=range(len(images)), side=["train", "validation", "test"] * 9, patient_id=None)
    split.require_no_leakage(images)
    images["patient_id"] = ["P1", "P1", *[None] * 25]
    with pytest.raises(LesionflowError, match="patient_id P1 is in two splits"):
        split.require_no_leakage(images)


def test_patient_with_more_images_than_a_fold_is_named():
    images = rows(10, 2).assign(patient_id=None)
    assert split.oversized_groups(images, 0.2) == []
    images.loc[:39, ["group", "patient_id"]] = [0, "P7"]
    lines = split.oversized_groups(images, 0.2)
    assert lines == ["40 images are one group (patient P7), but a fold has 36: the splits differ from the sizes asked for"]
