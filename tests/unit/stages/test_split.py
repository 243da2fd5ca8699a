import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import split
from components.core import catalog
from components.core.classes import CLASSES
from components.core.errors import LesionflowError


def rows(lesions_per_class: int, images_per_lesion: int) -> pd.DataFrame:
    made = [
        (f"{name}/{lesion}_{image}.jpg", name, f"{name}_{lesion}", f"{name}{lesion}{image}")
        for name in CLASSES
        for lesion in range(lesions_per_class)
        for image in range(images_per_lesion)
    ]
    frame = pd.DataFrame(made, columns=["path", "diagnosis", "lesion_id", "pixels_sha256"])
    return frame.assign(group=pd.factorize(frame["lesion_id"])[0])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([(0.2, 0.2), (0.1, 0.15), (0.4, 0.4)]))
def test_no_group_stands_on_two_sides_and_every_class_is_on_each(seed, shares):
    images = rows(12, 3)
    groups = images["group"].to_numpy()
    images = images.assign(side=split.assign_splits(images["diagnosis"], groups, *shares, seed))
    split.require_no_leakage(images, "multiclass")
    assert abs((images["side"] == "test").mean() - shares[0]) < 0.06
    assert abs((images["side"] == "validation").mean() - shares[1]) < 0.06


def test_images_that_leave_a_headline_figure_without_an_image_are_refused():
    split.require_measurable({"melanoma", "nevus"})
    with pytest.raises(LesionflowError, match="no usable melanoma"):
        split.require_measurable(set(CLASSES) - {"melanoma"})
    with pytest.raises(LesionflowError, match="every usable image is malignant"):
        split.require_measurable({"melanoma", "basal_cell_carcinoma"})


def test_the_same_seed_deals_the_same_split():
    images = rows(12, 2)
    groups = images["group"].to_numpy()
    first, again, other = (split.assign_splits(images["diagnosis"], groups, 0.2, 0.2, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_class_of_two_lesions_cannot_be_split():
    images = rows(12, 2)
    images = images[(images["diagnosis"] != "melanoma") | images["lesion_id"].isin(["melanoma_0", "melanoma_1"])]
    groups = images["group"].to_numpy()
    for task in ("multiclass", "binary"):
        with pytest.raises(LesionflowError, match="melanoma has 2"):
            split.assign_splits(split.strata(images["diagnosis"], task), groups, 0.2, 0.2, 0)


@pytest.mark.parametrize("scarce", ["dermatofibroma", "squamous_cell_carcinoma"])
def test_the_binary_task_splits_a_diagnosis_of_two_lesions_where_its_classes_have_enough(scarce):
    images = rows(12, 2)
    images = images[(images["diagnosis"] != scarce) | images["lesion_id"].isin([f"{scarce}_0", f"{scarce}_1"])].reset_index(drop=True)
    groups = images["group"].to_numpy()
    with pytest.raises(LesionflowError, match=f"{scarce} has 2"):
        split.assign_splits(split.strata(images["diagnosis"], "multiclass"), groups, 0.2, 0.2, 0)
    side = split.assign_splits(split.strata(images["diagnosis"], "binary"), groups, 0.2, 0.2, 0)
    images = images.assign(side=side)
    split.require_no_leakage(images, "binary")
    with pytest.raises(LesionflowError, match=f"split has no {scarce}"):
        split.require_no_leakage(images, "multiclass")
    shares = pd.crosstab(split.strata(images["diagnosis"], "binary"), images["side"], normalize="index")
    assert (shares.drop(split.OTHER_MALIGNANT)["test"].sub(0.2).abs() < 0.1).all()


@pytest.mark.parametrize("key", ["group", "lesion_id", "pixels_sha256"])
def test_check_refuses_what_stands_on_two_sides(key):
    images = rows(3, 1)
    images = images.assign(group=range(len(images)), side=["train", "validation", "test"] * 9)
    split.require_no_leakage(images, "multiclass")
    images.loc[1, key] = images.loc[0, key]
    with pytest.raises(LesionflowError, match=f"{key} .* is in two splits"):
        split.require_no_leakage(images, "multiclass")


def test_the_split_hash_names_the_labelled_images_and_nothing_else():
    images = rows(3, 1)
    assert catalog.split_hash(images) == catalog.split_hash(images.sample(frac=1, random_state=1))
    assert catalog.split_hash(images) == catalog.split_hash(images.assign(path="moved"))
    assert catalog.split_hash(images) != catalog.split_hash(images.assign(diagnosis="nevus"))
