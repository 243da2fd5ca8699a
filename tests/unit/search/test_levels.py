"""The second level of a search: fine-tuning with the best heads of the first, and the params of both."""

import json
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from app.tuning import proposal
from components.core.errors import LesionflowError, ParamsError
from components.core.paths import TUNING
from components.core.reports.tuning import TuningReport
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.search import study_database, tuning
from components.search.levels import HEAD, NOW, head_level
from components.search.study import chosen_heads, open_study, search
from components.search.tuning import search_levels
from components.search.tuning_report import draw, whole_report
from tests.support.labels import ISIC9
from tests.support.project import ROOT
from tests.unit.search.test_study import SPACE, value_of

DEEPER = {
    "trials": 12,
    "heads": 2,
    "space": {
        "finetune.learning_rate": {"low": 0.0001, "high": 0.01, "log": True},
        "finetune.unfreeze_from": {"choices": ["auto", "block_6"]},
        "augment.rotation": {"choices": [45, 180]},
    },
}


def fine_tuned_value(trial: optuna.Trial, settings: Settings) -> float:
    """A value that depends on the params alone, reported in two epochs before."""
    value = value_of(settings) - abs(settings.finetune.learning_rate - 0.001) - 0.05 * (settings.augment.rotation == 180)
    for epoch in range(2):
        trial.report(value, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


@pytest.fixture
def settings(monkeypatch, tmp_path) -> Settings:
    """Settings of a search with both levels, whose objectives cost nothing."""
    made = {"frozen": lambda _, tried: value_of(tried), "finetuned": fine_tuned_value}
    monkeypatch.setattr(tuning, "make_objective", lambda *arguments: made[arguments[3]])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(study_database.VARIABLE, raising=False)
    return with_fine_tuning()


def with_fine_tuning(heads_tried: int = 8, **changes: object) -> Settings:
    """params.yaml with small spaces, and changes of tuning.finetuned; `heads_tried`: trials of the head."""
    document = load(ROOT / "params.yaml").model_dump(by_alias=True)
    searched = {"trials": heads_tried, "space": SPACE, "finetuned": {**DEEPER, **changes}}
    return Settings.model_validate({**document, "tuning": {**document["tuning"], **searched}})


class Features:
    """In place of the cache."""

    identity = "features"


def test_fine_tuning_follows_the_search_of_the_head_and_takes_its_best(settings, tmp_path):
    ended: list[str] = []
    searched = search_levels(Features(), ISIC9, settings, lambda one, _: ended.append(one.level.phase))
    report = whole_report(searched, settings)

    assert ended == ["frozen"] * 8 + ["finetuned"] * 12
    trials = searched[1].study.trials
    present = {"finetune.learning_rate": 0.0003, "finetune.unfreeze_from": "auto", "augment.rotation": 180}
    assert trials[0].params == {HEAD: NOW, **present}
    assert TrialState.PRUNED in [trial.state for trial in trials]
    assert report.phase == "finetuned"
    assert report.head is not None
    assert set(report.best) == {*SPACE, *present}
    assert {key: report.best[key] for key in SPACE} in list(searched[1].level.heads.values())
    assert report.present == {**report.head.present, **present}
    assert report.present_value is not None
    assert report.best_value >= report.present_value
    for one in searched:
        draw(one.study, tmp_path, f"{one.level.phase}_")
    assert len(list(tmp_path.glob("*.png"))) == 6


def test_search_that_is_done_tries_nothing_more(settings):
    search_levels(Features(), ISIC9, settings, lambda *_: None)

    searched = search_levels(Features(), ISIC9, settings, lambda *_: pytest.fail("a trial was run"))

    assert [len(one.study.trials) for one in searched] == [8, 12]


def test_result_of_both_levels_is_taken_over(settings, tmp_path):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    report = whole_report(search_levels(Features(), ISIC9, settings, lambda *_: None), settings)
    report.write(TUNING)
    assert TuningReport.read(TUNING) == report

    _, before, after = proposal()

    assert before == text
    expected = yaml.safe_load(text)
    for key, value in report.best.items():
        section, _, name = key.partition(".")
        expected[section][name] = value
    assert yaml.safe_load(after) == expected
    assert after != before


def test_heads_are_the_present_and_the_best_different_ones_and_stay_what_they_are(settings):
    study = open_study("made", settings, head_level(settings))
    search(study, settings, lambda _, tried: value_of(tried), lambda _: None, head_level(settings))
    heads = chosen_heads(study, settings)
    best = study.best_params
    more = with_fine_tuning(heads_tried=12)
    search(study, more, lambda *_: 1.0, lambda _: None, head_level(more))

    assert heads[NOW] == {"train.dropout": 0.3, "train.hidden_units": []}
    assert len(heads) == 3
    assert best["train.dropout"] in [values["train.dropout"] for values in heads.values()]
    assert chosen_heads(study, settings) == heads
    assert len({json.dumps(values) for values in heads.values()}) == 3


@pytest.mark.usefixtures("settings")
def test_present_fine_tuning_outside_of_the_space_is_named_before_anything_is_tried():
    outside = with_fine_tuning(space={"finetune.learning_rate": {"low": 0.001, "high": 0.01}})

    with pytest.raises(LesionflowError, match=r"finetune.learning_rate is 0.0003 now, which tuning.finetuned.space does not hold"):
        search_levels(Features(), ISIC9, outside, lambda *_: pytest.fail("a trial was run"))


@pytest.mark.usefixtures("settings")
def test_without_fine_tuning_trials_the_search_ends_with_the_head():
    shallow = with_fine_tuning(heads_tried=3, trials=0)

    report = whole_report(search_levels(Features(), ISIC9, shallow, lambda *_: None), shallow)

    assert (report.phase, report.head) == ("frozen", None)
    assert set(report.best) == set(SPACE)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"finetune.learning_rat": {"low": 0.1, "high": 0.5}}, "finetuned.space: finetune.learning_rat is not a key"),
        (
            {"train.dropout": {"low": 0, "high": 0.5}},
            r"train.dropout: this search varies finetune.\*, augment.\* only",
        ),
        ({"finetune.warmup_epochs": {"low": 0, "high": 6}}, r"finetune.warmup_epochs cannot be 6.0: .*must be at most epochs \(5\)"),
        ({"finetune.batch_size": {"low": 16, "high": 64}}, "finetune.batch_size cannot be 31.27"),
        ({"finetune.unfreeze_from": {"choices": ["auto", "block3a"]}}, "finetune.unfreeze_from: .*no layer or block 'block3a'"),
        (
            {"augment.max_views_per_image": {"choices": [4, 6]}},
            r"augment.max_views_per_image cannot be 4: max_views_per_image .* must",
        ),
        ({"augment.zoom": {"low": 0.5, "high": 2}}, "augment.zoom cannot be 0.5"),
        ({}, "tuning.finetuned.space.*at least 1"),
    ],
)
def test_wrong_space_of_fine_tuning_is_an_error_of_params_yaml(space, message, tmp_path):
    with pytest.raises(ParamsError, match=message):
        load(written(tmp_path, lambda document: document["tuning"]["finetuned"].update(space=space, trials=1)))


def test_two_values_that_params_yaml_does_not_allow_together_are_named(tmp_path):
    def change(document: dict) -> None:
        choices = {"choices": [6, 8]}
        document["augment"]["max_views_per_image"] = 8
        document["tuning"]["finetuned"]["space"] = {f"augment.{key}": choices for key in ("views_per_image", "max_views_per_image")}

    with pytest.raises(ParamsError, match=r"augment.max_views_per_image cannot be 6 with augment.views_per_image 8: "):
        load(written(tmp_path, change))


def test_layers_of_another_backbone_matter_only_when_they_are_searched(tmp_path):
    def of_another(trials: int):
        def change(document: dict) -> None:
            document["backbones"]["starter"] |= {"architecture": "ResNet50", "alpha": 1.0}
            document["tuning"]["finetuned"]["trials"] = trials

        return change

    assert load(written(tmp_path, of_another(0))).tuning.finetuned.trials == 0
    with pytest.raises(ParamsError, match=r"tuning.finetuned.space: finetune.unfreeze_from: .*'block_6'"):
        load(written(tmp_path, of_another(1)))


def test_unknown_phase_is_an_error_of_params_yaml(tmp_path):
    with pytest.raises(ParamsError, match=r"cross_validation.phase: 'thawed' is not allowed: input should be 'frozen' or 'finetuned'"):
        load(written(tmp_path, lambda document: document["cross_validation"].update(phase="thawed")))


def written(folder: Path, change: Callable[[dict], None]) -> Path:
    """The repository's params.yaml with a change."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    change(document)
    (folder / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder / "params.yaml"
