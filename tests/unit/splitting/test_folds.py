import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.errors import LesionflowError
from components.split import require_no_leakage
from components.splitting.folds import assign_splits
from tests.support.splits import rows


def assigned(images: pd.DataFrame, *arguments):
    return assign_splits(images["diagnosis"], pd.factorize(images["group"])[0], *arguments)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([(0.2, 0.2), (0.1, 0.15), (0.4, 0.4)]))
def test_groups_are_in_one_split_and_classes_in_all(seed, shares):
    images = rows(12, 3)
    images = images.assign(side=assigned(images, *shares, seed))
    require_no_leakage(images)
    assert abs((images["side"] == "test").mean() - shares[0]) < 0.06
    assert abs((images["side"] == "validation").mean() - shares[1]) < 0.06


def test_same_seed_gives_same_split():
    images = rows(12, 2)
    first, repeated, other = (assigned(images, 0.2, 0.2, seed) for seed in (1, 1, 2))
    assert (first == repeated).all()
    assert (first != other).any()


def test_class_of_two_lesions_cannot_be_split():
    images = rows(12, 2)
    images = images[(images["diagnosis"] != "melanoma") | images["lesion_id"].isin(["melanoma_0", "melanoma_1"])]
    with pytest.raises(LesionflowError, match="melanoma has 2"):
        assigned(images, 0.2, 0.2, 0)
