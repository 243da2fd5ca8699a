import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.core.catalog import SPLIT_NAMES
from components.splitting.new_groups import assign_new_groups
from tests.support.splits import rows

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=40)


def table(sizes: list[int], name: str = "nevus") -> pd.DataFrame:
    """Images of groups of one class with these numbers of images."""
    groups = [f"{name}{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return pd.DataFrame({"group": groups, "diagnosis": name})


@st.composite
def datasets(draw) -> tuple[pd.DataFrame, dict[str, str]]:
    """Images of groups, some with several classes, and the split of the groups that are in one already."""
    count = draw(st.integers(1, 25))
    images = [
        (f"group {number}", name)
        for number in range(count)
        for name in draw(st.lists(st.sampled_from(["nevus", "melanoma", "acne"]), min_size=1, max_size=6))
    ]
    kept = draw(st.dictionaries(st.integers(0, count - 1), st.sampled_from(SPLIT_NAMES)))
    return pd.DataFrame(images, columns=["group", "diagnosis"]), {f"group {number}": split for number, split in kept.items()}


@settings(deadline=None, max_examples=60)
@given(datasets(), st.integers(0, 99), st.randoms(use_true_random=False))
def test_each_new_group_gets_one_split_and_row_order_does_not_matter(dataset, seed, random):
    images, kept = dataset
    assigned = assign_new_groups(images, kept, SHARES, seed)
    assert set(assigned) == set(images["group"]) - set(kept), "no kept group is assigned again, and every other one is"
    assert set(assigned.values()) <= set(SPLIT_NAMES)
    order = list(range(len(images)))
    random.shuffle(order)
    shuffled_kept = dict(reversed(kept.items()))
    assert assign_new_groups(images.iloc[order], shuffled_kept, SHARES, seed) == assigned


@settings(deadline=None, max_examples=60)
@given(SIZES, SIZES, st.lists(st.sampled_from(SPLIT_NAMES), min_size=40, max_size=40), st.sampled_from([(0.2, 0.2), (0.4, 0.05)]))
def test_no_split_with_new_groups_exceeds_its_share_by_a_group(kept_sizes, new_sizes, kept_splits, fractions):
    shares = dict(zip(SPLIT_NAMES, (1 - sum(fractions), *fractions), strict=True))
    images = table(kept_sizes + new_sizes)
    kept = {f"nevus{number}": kept_splits[number] for number in range(len(kept_sizes))}
    assigned = assign_new_groups(images, kept, shares, seed=0)
    counts = images["group"].map(kept | assigned).value_counts()
    for split in set(assigned.values()):
        assert counts[split] - shares[split] * len(images) < max(new_sizes)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.integers(0, 99))
def test_shares_of_a_new_class_are_met_within_the_largest_groups(sizes, seed):
    assume(len(sizes) >= 3)
    images = pd.concat([rows(10, 2, ["melanoma"]), table(sizes)], ignore_index=True)
    kept = {f"melanoma_{number}": split for number, split in enumerate(["train"] * 6 + ["validation", "test"] * 2)}
    assigned = assign_new_groups(images, kept, SHARES, seed)
    assert set(assigned.values()) == set(SPLIT_NAMES), "every split has an image of the new class"
    counts = images.loc[images["diagnosis"] == "nevus", "group"].map(assigned).value_counts()
    for split, share in SHARES.items():
        assert abs(counts[split] - share * sum(sizes)) < 2 * max(sizes)


@pytest.mark.parametrize("seed", range(3))
def test_one_and_two_new_groups_are_assigned(seed):
    images = rows(10, 1, ["nevus", "melanoma"])
    kept = {f"{name}_{number}": "train" if number < 6 else "validation" for name in ("nevus", "melanoma") for number in range(8)}
    kept |= {f"melanoma_{number}": "test" for number in (8, 9)}
    assert assign_new_groups(images, kept, SHARES, seed) == {"nevus_8": "test", "nevus_9": "test"}
    kept["nevus_8"] = "test"
    assert assign_new_groups(images, kept, SHARES, seed) == {"nevus_9": "test"}


def test_seed_draws_the_order_of_groups_of_one_size():
    images = rows(20, 1, ["nevus"])
    splits = [assign_new_groups(images, {"nevus_0": "train"}, SHARES, seed) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]
    counts = [pd.Series(split).value_counts().to_dict() for split in splits]
    assert counts == [{"train": 11, "validation": 4, "test": 4}] * 3


def test_kept_groups_of_images_that_are_not_used_do_not_count():
    images = rows(5, 1, ["nevus"])
    assert assign_new_groups(images, {"excluded": "train"}, SHARES, 0).keys() == set(images["group"])
