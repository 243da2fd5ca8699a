"""Fine-tuned folds and trials: the value depends on the settings alone, also after a kill, and the disk stays clean."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import optuna
import pandas as pd
import pytest

from components.core.paths import DATA, SPLITS
from components.search import fold_finetuning, trial_features
from components.search.cross_validation import in_phase, run_fold
from components.search.fold_cache import load_cache
from components.search.fold_finetuning import plan
from components.search.fold_results import FoldResults
from components.search.folds import deal
from components.search.objectives import make_objective
from components.training import finetuning
from tests.support.folds import EPOCHS, LABELS, small_settings, use_small_network, write_project
from tests.support.project import ROOT

pytestmark = pytest.mark.slow

pytest.importorskip("tensorflow")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Settings of a small project, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    use_small_network(monkeypatch)
    write_project(tmp_path)
    return small_settings()


def first_fold(settings):
    """The predictions of the first fold, as they are written."""
    cache = load_cache(settings)
    fold = run_fold(cache, next(deal(cache.images, settings.cross_validation, settings.seed)), LABELS, settings)
    return fold.held_out.probabilities, fold.epochs


def test_fold_has_the_same_predictions_every_time_and_leaves_nothing(settings):
    probabilities, epochs = first_fold(settings)
    again, _ = first_fold(settings)
    head_alone, _ = first_fold(in_phase(settings, "frozen"))

    assert epochs == EPOCHS
    assert np.isfinite(probabilities).all()
    assert np.array_equal(again, probabilities)
    assert not np.array_equal(head_alone, probabilities)
    assert not [path for path in fold_finetuning.FOLDER.glob("*") if path.is_dir()]


KILLED = """
    import sys, time
    sys.path.insert(0, {root!r})
    import pytest
    from components.search import fold_finetuning
    from tests.support.folds import small_settings, use_small_network
    from tests.unit.search.test_fold_finetuning import first_fold

    class Stuck(fold_finetuning.Silent):
        def __call__(self, number, metrics):
            super().__call__(number, metrics)
            time.sleep(60)

    fold_finetuning.Silent = Stuck
    use_small_network(pytest.MonkeyPatch())
    first_fold(small_settings())
"""


@pytest.mark.sweep
def test_fold_that_was_killed_while_it_fine_tuned_goes_on_to_the_same_predictions(settings, tmp_path, capsys):
    code, environment = textwrap.dedent(KILLED.format(root=str(ROOT))), {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("repeat 0 fold 0: epoch 1 of") for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    assert list(fold_finetuning.FOLDER.glob("*/checkpoint"))

    resumed, epochs = first_fold(settings)
    assert f"resuming after epoch 1 of {EPOCHS}" in capsys.readouterr().out
    uninterrupted, _ = first_fold(settings)

    assert epochs == EPOCHS
    assert np.array_equal(resumed, uninterrupted)


def test_trial_reads_no_test_image(settings):
    def trial_value() -> float:
        return make_objective(load_cache(settings), LABELS, settings, "finetuned")(optuna.trial.FixedTrial({}), settings)

    before = trial_value()
    rows = pd.read_parquet(SPLITS)
    for path in rows.loc[rows["side"] == "test", "path"]:
        (DATA / path).unlink()
    rows[rows["side"] != "test"].to_parquet(SPLITS, index=False)

    trial_features.clear()
    assert trial_value() == before


def test_shards_have_views_of_the_trained_images_alone(settings):
    cache = load_cache(settings)
    dealt = next(deal(cache.images, settings.cross_validation, settings.seed))

    planned = plan(cache.images, dealt.parts, settings)

    for split, mask, views in (("train", "trained", 2), ("validation", "stopping", 1), ("held_out", "held_out", 1)):
        assert {image.path for image in planned[split]} == set(cache.images["path"][getattr(dealt.parts, mask)])
        assert {image.views for image in planned[split]} == {views}


def test_kept_result_is_of_the_phase_and_of_its_settings(settings, tmp_path):
    def folder(changed):
        return FoldResults.of_settings("features", changed, LABELS, tmp_path).folder

    slower = settings.model_copy(update={"finetune": settings.finetune.model_copy(update={"learning_rate": 0.001})})
    assert len({folder(settings), folder(slower), folder(in_phase(settings, "frozen"))}) == 3
    assert folder(in_phase(settings, "frozen")) == folder(in_phase(slower, "frozen"))


@pytest.mark.sweep
def test_value_of_a_trial_depends_on_its_settings_alone_and_one_augmentation_is_kept(settings, monkeypatch):
    losses: list[list[float]] = []
    fit = finetuning.FineTuning.train

    def train(self, *arguments):
        result = fit(self, *arguments)
        losses.append(result.history["val_loss"].tolist())
        return result

    monkeypatch.setattr(finetuning.FineTuning, "train", train)
    value_of = make_objective(load_cache(settings), LABELS, settings, "finetuned")
    darker = settings.with_values({"augment.brightness": 0.1})

    first, _, again = (value_of(optuna.trial.FixedTrial({}), tried) for tried in (settings, darker, settings))

    assert first == again
    assert losses[0] == losses[2] != losses[1]
    kept = [path for root in (trial_features.FEATURES, trial_features.SHARDS) for path in root.glob("*") if path.is_dir()]
    assert len(kept) == 2
    assert not list(trial_features.SHARDS.glob("*/checkpoint"))
    trial_features.clear()
    assert not [path for path in kept if path.exists()]


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("objective", ["validation", pytest.param("cross_validation", marks=pytest.mark.sweep)])
def test_trial_reports_each_epoch_or_fold_and_stops_when_it_is_pruned(objective):
    settings, reported = small_settings(tuning={"objective": objective}), []

    class Hopeless(optuna.trial.FixedTrial):
        def report(self, value: float, step: int) -> None:
            assert 0 <= value <= 1
            reported.append(step)

        def should_prune(self) -> bool:
            return reported[-1] == 1

    objective = make_objective(load_cache(settings), LABELS, settings, "finetuned")
    with pytest.raises(optuna.TrialPruned):
        objective(Hopeless({}), settings.with_values({"finetune.learning_rate": 0.001}))

    assert reported == [0, 1]


@pytest.mark.usefixtures("settings")
def test_present_setting_is_never_stopped():
    settings = small_settings()

    class Hopeless(optuna.trial.FixedTrial):
        def report(self, value: float, step: int) -> None:
            pass

        def should_prune(self) -> bool:
            return True

    objective = make_objective(load_cache(settings), LABELS, settings, "frozen")
    assert 0 <= objective(Hopeless({}), settings.with_values({"train.dropout": settings.train.dropout})) <= 1
    with pytest.raises(optuna.TrialPruned):
        objective(Hopeless({}), settings.with_values({"train.dropout": 0.123}))
