import json
from pathlib import Path

import pandas as pd
import pytest

from components import split
from components.core import catalog
from components.core.errors import LesionflowError
from components.core.label_set import LabelSet
from components.core.paths import CATALOG, LABEL_SET, SPLITS
from components.runtime.params import Settings
from components.splitting.assignments import ASSIGNMENTS, find_kept_groups, load_assignments
from components.splitting.folds import assign_splits
from tests.support.labels import ISIC9, RASH
from tests.support.splits import pixels, rows


def test_require_measurable_needs_benign_images():
    split.require_measurable(ISIC9)
    split.require_measurable(RASH)
    malignant = LabelSet(name="isic9", outputs=ISIC9.malignant, malignant=ISIC9.malignant, critical="melanoma")
    with pytest.raises(LesionflowError, match="every usable image is malignant"):
        split.require_measurable(malignant)


def test_split_without_a_class_is_refused():
    images = rows(12, 2)
    images["side"] = [catalog.SPLIT_NAMES[int(group.split("_")[-1]) % 3] for group in images["group"]]
    split.require_no_leakage(images)
    with pytest.raises(LesionflowError, match=r"the test split has no melanoma\. .* split\.redeal: true and another seed"):
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
    images.loc[:39, ["group", "patient_id"]] = ["of P7", "P7"]
    lines = split.oversized_groups(images, 0.2)
    assert lines == ["40 images are one group (patient P7), but a fold has 36: the splits differ from the sizes asked for"]


class Stage:
    """The stage `split` in an empty folder, with the catalog that a test gives it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def run(self, images: pd.DataFrame, **params) -> pd.Series:
        """Run the stage; returns the split of each image by the hash of its pixels."""
        unknown = set(catalog.COLUMNS) - set(images)
        images.assign(usable=True, **dict.fromkeys(unknown - {"usable"})).to_parquet(CATALOG)
        seed = params.pop("seed", 0)
        split.split(self.settings.model_copy(update={"seed": seed, "split": self.settings.split.model_copy(update=params)}))
        splits = pd.read_parquet(SPLITS).set_index("pixels_sha256")["side"]
        assert load_assignments().items() >= splits.to_dict().items()
        return splits

    def counts(self) -> tuple[int, int, int]:
        """Kept, dealt and joined groups in the report."""
        report = json.loads(split.REPORT.read_text(encoding="utf-8"))
        return report["kept_groups"], report["dealt_groups"], report["joined_groups"]


@pytest.fixture
def stage(tmp_path, monkeypatch, settings) -> Stage:
    monkeypatch.chdir(tmp_path)
    Path("build").mkdir()
    ISIC9.write(LABEL_SET)
    monkeypatch.setattr(split.expectations, "check_splits", lambda _splits, _outputs, draft: draft.mkdir() or [])
    return Stage(settings)


def test_no_image_changes_its_split_when_lesions_are_added(stage, capsys):
    images = rows(20, 2)
    before = stage.run(images)
    assert stage.counts() == (0, 180, 0)
    more = pd.concat([rows(2, 2, first=20), images], ignore_index=True)
    after = stage.run(more)
    assert after.loc[before.index].equals(before)
    assert stage.counts() == (180, 18, 0)
    assert "180 groups stay in their split, 18 are assigned now" in capsys.readouterr().out
    new = after.drop(before.index)
    assert new.value_counts().to_dict() == {"train": 18, "validation": 10, "test": 8}
    assert stage.run(more).equals(after)
    assert stage.counts() == (198, 0, 0)
    assert "split.redeal: true splits all images again" in capsys.readouterr().out


def test_first_split_equals_that_of_folds(stage):
    images = rows(12, 2)
    ordered = images.sort_values("path", ignore_index=True)
    expected = assign_splits(ordered["diagnosis"], pd.factorize(ordered["group"])[0], 0.2, 0.2, 3)
    assert stage.run(images, seed=3).loc[ordered["pixels_sha256"]].tolist() == expected.tolist()


def test_redeal_splits_again_and_drops_absent_images(stage, capsys):
    images = rows(12, 1)
    first = stage.run(images)
    part = images[images["lesion_id"] != "nevus_3"]
    absent = pixels("nevus 3 0")
    assert stage.run(part, seed=1).equals(first.drop(absent)), "another seed moves nothing"
    assert load_assignments()[absent] == first[absent], "an absent image keeps its split"
    again = stage.run(part, seed=1, redeal=True)
    assert (again != first.drop(absent)).any()
    assert absent not in load_assignments()
    assert stage.counts() == (0, 107, 0)
    assert "set it to false" in capsys.readouterr().out


def test_redeal_does_not_read_an_invalid_file(stage):
    images = rows(12, 1)
    stage.run(images)
    ASSIGNMENTS.write_text("<<<<<<< HEAD\n", encoding="utf-8")
    with pytest.raises(LesionflowError, match=r"assignments\.csv, line 1: .*split\.redeal: true"):
        stage.run(images)
    stage.run(images, redeal=True)


def test_group_that_joins_two_splits_goes_to_train(stage, capsys):
    images = rows(12, 2)
    splits = stage.run(images)
    sides = images["pixels_sha256"].map(splits)
    tested, validated = (images.loc[(sides == side) & (images["diagnosis"] == "nevus"), "group"].iloc[0] for side in ("test", "validation"))
    joined = images.assign(group=images["group"].replace(validated, tested))
    joined["lesion_id"] = joined["group"]
    after = stage.run(joined)
    moved = joined.loc[joined["group"] == tested, "pixels_sha256"]
    assert len(moved) == 4
    assert set(after[moved]) == {"train"}
    assert after.drop(moved).equals(splits.drop(moved))
    assert stage.counts() == (106, 0, 1)
    assert "groups that join images of several splits and are in train now: 1 (4 images)" in capsys.readouterr().out


def test_excluded_image_keeps_the_split_of_its_group():
    files = pd.DataFrame({"group": ["lesion", "lesion"], "pixels_sha256": [pixels("excluded"), pixels("new")]})
    assert find_kept_groups(files, {pixels("excluded"): "test"}).splits == {"lesion": "test"}


def test_new_class_of_two_lesions_is_refused_and_of_three_is_in_all_splits(stage):
    others = [name for name in ISIC9.outputs if name != "melanoma"]
    images = rows(12, 1, others)
    before = stage.run(images)
    with pytest.raises(LesionflowError, match="melanoma has 2"):
        stage.run(pd.concat([images, rows(2, 1, ["melanoma"])], ignore_index=True))
    assert load_assignments() == before.to_dict(), "a failed stage changes no assignment"
    after = stage.run(pd.concat([images, rows(3, 1, ["melanoma"])], ignore_index=True))
    assert set(after.drop(before.index)) == set(catalog.SPLIT_NAMES)
