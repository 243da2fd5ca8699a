import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import catalog, split
from components.classes import CLASSES
from components.errors import LesionflowError


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
    images = images.assign(side=split.deal(list(images["diagnosis"]), groups, *shares, seed))
    split.check(images)
    assert abs((images["side"] == "test").mean() - shares[0]) < 0.06
    assert abs((images["side"] == "validation").mean() - shares[1]) < 0.06


def test_images_that_leave_a_headline_figure_without_an_image_are_refused():
    split.check_measurable({"melanoma", "nevus"})
    with pytest.raises(LesionflowError, match="no usable melanoma"):
        split.check_measurable(set(CLASSES) - {"melanoma"})
    with pytest.raises(LesionflowError, match="every usable image is malignant"):
        split.check_measurable({"melanoma", "basal_cell_carcinoma"})


def test_the_same_seed_deals_the_same_split():
    images = rows(12, 2)
    groups = images["group"].to_numpy()
    first, again, other = (split.deal(list(images["diagnosis"]), groups, 0.2, 0.2, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_class_of_two_lesions_cannot_be_split():
    images = rows(12, 2)
    images = images[(images["diagnosis"] != "melanoma") | images["lesion_id"].isin(["melanoma_0", "melanoma_1"])]
    groups = images["group"].to_numpy()
    with pytest.raises(LesionflowError, match="melanoma has 2"):
        split.deal(list(images["diagnosis"]), groups, 0.2, 0.2, 0)


@pytest.mark.parametrize("key", ["group", "lesion_id", "pixels_sha256"])
def test_check_refuses_what_stands_on_two_sides(key):
    images = rows(3, 1)
    images = images.assign(group=range(len(images)), side=["train", "validation", "test"] * 9)
    split.check(images)
    images.loc[1, key] = images.loc[0, key]
    with pytest.raises(LesionflowError, match=f"{key} .* stands on two sides"):
        split.check(images)


def test_the_split_hash_names_the_labelled_images_and_nothing_else():
    images = rows(3, 1)
    assert catalog.split_hash(images) == catalog.split_hash(images.sample(frac=1, random_state=1))
    assert catalog.split_hash(images) == catalog.split_hash(images.assign(path="moved"))
    assert catalog.split_hash(images) != catalog.split_hash(images.assign(diagnosis="nevus"))
