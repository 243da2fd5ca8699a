"""Folds: groups are never divided, classes are in each, and each image has one part."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.errors import LesionflowError
from components.search.folds import assign_folds, parts_of


def images(groups: list[int], classes: int = 2) -> pd.DataFrame:
    """A row for each entry: an image of that group, whose class is the group's number modulo `classes`."""
    return pd.DataFrame({"group": [f"g{group}" for group in groups], "diagnosis": [f"class {group % classes}" for group in groups]})


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=0, max_size=60), st.integers(3, 6), st.integers(0, 1000))
def test_groups_are_never_divided_and_every_image_is_held_out_once(more, folds, seed):
    rows = images([*range(2 * folds), *more])

    assigned = assign_folds(rows, folds, seed)

    assert (rows.assign(fold=assigned).groupby("group")["fold"].nunique() == 1).all()
    held_out = np.sum([parts_of(assigned, number).held_out for number in range(folds)], axis=0)
    assert (held_out == 1).all()


def test_parts_share_no_image_and_stop_at_the_next_fold():
    assigned = np.array([0, 1, 2, 0, 1, 2])

    parts = parts_of(assigned, 2)

    assert (parts.trained.astype(int) + parts.stopping + parts.held_out == 1).all()
    assert parts.held_out.tolist() == (assigned == 2).tolist()
    assert parts.stopping.tolist() == (assigned == 0).tolist()


def test_every_class_is_in_every_fold():
    rows = images(list(range(60)), classes=3)

    assigned = assign_folds(rows, 5, seed=1)

    assert (pd.crosstab(assigned, rows["diagnosis"]) == 4).all(axis=None)


def test_another_seed_deals_in_another_way_and_the_same_seed_in_the_same():
    rows = images(list(range(60)))

    assert assign_folds(rows, 5, 1).tolist() == assign_folds(rows, 5, 1).tolist()
    assert assign_folds(rows, 5, 1).tolist() != assign_folds(rows, 5, 2).tolist()


def test_too_few_lesions_are_named_with_the_way_out():
    rows = images([0, 2, 4, 6, 8, 1, 3, 5])

    with pytest.raises(LesionflowError, match=r"too few lesions for 5 folds: class 1 has 3 .* cross_validation.folds to at most 3"):
        assign_folds(rows, 5, seed=0)
