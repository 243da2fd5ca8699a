"""A champion and a retrained candidate on another test split: no image of their comparison was in the training of the champion."""

import numpy as np
import pandas as pd
import pytest

from components import register
from components.core import catalog
from components.core.files import read_json
from components.core.paths import REGISTRATION
from components.evaluation.predictions import Predictions
from components.imaging import images
from components.registry import evidence, reevaluation
from components.runtime import params_file
from components.split import assign_splits
from tests.mlflow.conftest import RegistryLab, model_of
from tests.support.images import noise
from tests.support.labels import CLASSES, ISIC9

LESIONS, ADDED = 30, 3
"""Lesions per class of the champion's dataset, and those added later."""
RULE = "comparable with the champion"


def write_images(registry: RegistryLab) -> pd.DataFrame:
    """One image for each lesion of the larger dataset, and a second one of the first two lesions of each class, which is added with it."""
    rows = [(name, lesion, picture) for name in CLASSES for lesion in range(LESIONS + ADDED) for picture in range(1 + (lesion < 2))]
    table = pd.DataFrame(rows, columns=["diagnosis", "lesion", "picture"])
    table["path"] = [f"{name}/{lesion}_{picture}.png" for name, lesion, picture in rows]
    table["group"] = table["diagnosis"] + table["lesion"].astype(str)
    for number, path in enumerate(table["path"]):
        noise(number, 24).save(registry.root / "data" / path)
    table["pixels_sha256"] = [images.pixels_sha256(images.decode((registry.root / "data" / path).read_bytes())) for path in table["path"]]
    return table


def dealt(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    groups = pd.factorize(table["group"])[0]
    return table.assign(group=groups, side=assign_splits(table["diagnosis"], groups, 0.2, 0.2, seed)).drop(columns=["lesion", "picture"])


def write_candidate(registry: RegistryLab, split: pd.DataFrame):
    """A candidate whose training, validation and test images are these, and which diagnoses all of the last correctly."""
    test = split[split["side"] == "test"].drop(columns="side").reset_index(drop=True)
    probabilities = np.eye(len(CLASSES))[ISIC9.encode(test["diagnosis"])] * 0.91 + 0.01
    predictions = Predictions(test, probabilities, ISIC9)
    return registry.write_candidate(predictions, split=catalog.split_hash(test), seen=split[split["side"] != "test"])


@pytest.fixture
def retrained(registry, monkeypatch) -> tuple[RegistryLab, pd.DataFrame, list[pd.DataFrame]]:
    """Version 1 is champion; a candidate of equal quality follows, with 10 % more lesions in a split that was dealt again.

    The champion's split, and the tables of images that versions are measured on, are returned with the registry.
    """
    registry.set_params("register", promotion="automatic", min_comparable_groups=10)
    table = write_images(registry)
    before = dealt(table[(table["lesion"] < LESIONS) & (table["picture"] == 0)].reset_index(drop=True), seed=0)
    number = registry.register_candidate(write_candidate(registry, before), model=model_of(registry))
    registry.move_champion(number)
    write_candidate(registry, dealt(table, seed=1))
    measured, reevaluate = [], reevaluation.reevaluate

    def record(version, test_images, *others):
        measured.append(test_images)
        return reevaluate(version, test_images, *others)

    monkeypatch.setattr(reevaluation, "reevaluate", record)
    return registry, before, measured


def run_register() -> tuple[dict, dict[str, dict]]:
    register.register(params_file.load())
    report = read_json(REGISTRATION)
    return report, {rule["name"]: rule for rule in report["gate"]}


def test_no_image_of_the_comparison_was_in_the_training_of_the_champion(retrained):
    registry, before, measured = retrained
    report, rules = run_register()
    candidate = pd.read_parquet(registry.evidence_folder("2") / evidence.SPLIT)
    test = candidate[candidate["side"] == "test"]
    seen = before[before["side"] != "test"]
    seen_groups = candidate.loc[candidate["pixels_sha256"].isin(seen["pixels_sha256"]), "group"]
    assert test["pixels_sha256"].isin(seen["pixels_sha256"]).mean() > 0.5, "most test images were the champion's"
    [compared] = measured
    assert not compared["pixels_sha256"].isin(seen["pixels_sha256"]).any()
    assert not compared["group"].isin(seen_groups).any()
    assert set(compared["pixels_sha256"]) == set(test.loc[~test["group"].isin(seen_groups), "pixels_sha256"])
    counted = f"{compared['group'].nunique()} of {test['group'].nunique()} test groups were seen by neither model, at least 10 required"
    assert rules[RULE]["says"].startswith(counted)
    kept = rules["balanced accuracy kept against the champion"]
    assert kept["says"].startswith("balanced accuracy +0.000 [+0.000, +0.000] against champion version 1, measured again on these images")
    assert (report["gate_passed"], report["champion"]) == (True, "2")


def test_few_comparable_groups_leave_the_promotion_to_a_person(retrained, run_cli, capsys):
    registry, _, measured = retrained
    registry.set_params("register", min_comparable_groups=50)
    report, rules = run_register()
    assert "not comparable with the champion: `lesionflow champion promote 2 --override REASON`" in capsys.readouterr().out
    assert [name for name, rule in rules.items() if not rule["passed"]] == [RULE]
    assert "at least 50 required" in rules[RULE]["says"]
    assert not any("kept against" in name for name in rules)
    assert measured == []
    assert (report["version"], report["champion"], report["promotion"]) == ("2", "1", None)
    refused = run_cli("champion", "promote", "2")
    assert refused.exit_code == 1
    assert "FAIL  comparable with the champion: not comparable: " in refused.stdout
    assert "`lesionflow champion promote VERSION --override REASON`" in refused.stdout
    assert run_cli("champion", "promote", "2", "--override", "trained on newer devices").exit_code == 0
    assert registry.champion() == "2"
    assert registry.champion_state().entries[-1].verdict == f"failed: {RULE}"
    assert run_cli("champion", "rollback").exit_code == 0
    assert registry.champion() == "1"


def test_former_champion_is_judged_on_its_own_images_that_the_champion_has_not_seen(retrained, run_cli):
    registry, _, measured = retrained
    run_register()
    measured.clear()
    third = write_candidate(registry, dealt(write_images(registry), seed=2))
    registry.move_champion(registry.register_candidate(third, model=model_of(registry)))
    result = run_cli("champion", "promote", "1")
    assert result.exit_code == 0, result.stderr
    champion = pd.read_parquet(registry.evidence_folder("3") / evidence.SPLIT)
    assert not measured[0]["pixels_sha256"].isin(champion.loc[champion["side"] != "test", "pixels_sha256"]).any()
    assert run_cli("champion", "verify", "1").exit_code == 0


def test_champion_of_an_older_release_with_another_test_split_is_not_comparable(registry):
    registry.move_champion(registry.register_legacy_version(registry.predictions(0)))
    registry.write_candidate(registry.predictions(0), split="split b")
    report, rules = run_register()
    assert (report["champion"], rules[RULE]["passed"]) == ("1", False)
    assert "no evidence tells which images it was trained on" in rules[RULE]["says"]
    assert not any("kept against the champion" in name for name in rules)
