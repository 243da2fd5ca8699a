"""The report of a cross-validation."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from components.core.reports.cross_validation import CrossValidation
from components.cross_validate import print_summary
from components.evaluation.predictions import Predictions
from components.runtime.params_file import load
from components.search import plots
from components.search.fold_results import FoldResults
from components.search.measurement import FoldPredictions, find_suspects, measure
from tests.support.labels import ISIC9
from tests.support.project import ROOT

CLASSES = len(ISIC9.outputs)
FOLDS = 3


@pytest.fixture
def settings():
    found = load(ROOT / "params.yaml")
    return found.model_copy(update={"evaluate": found.evaluate.model_copy(update={"bootstrap_resamples": 50})})


def images(count: int = 90) -> pd.DataFrame:
    """Rows of build/splits.parquet, one lesion each, ten of each class."""
    return pd.DataFrame(
        {
            "path": [f"{number:03}.jpg" for number in range(count)],
            "pixels_sha256": [f"{number:064x}" for number in range(count)],
            "diagnosis": [ISIC9.outputs[number % CLASSES] for number in range(count)],
            "group": [f"{number:03}" for number in range(count)],
            "age_approx": np.nan,
            "sex": ["male" if number % 2 else "female" for number in range(count)],
            "anatom_site_general": None,
            "fitzpatrick_skin_type": None,
            "collection": None,
            "width": 600,
            "height": 450,
        }
    )


def predictions(rows: pd.DataFrame, wrong: tuple[str, ...] = (), sure: float = 0.92) -> Predictions:
    """Predictions of the right class, and for `wrong` paths of the next one."""
    truth = np.array(ISIC9.encode(rows["diagnosis"]))
    named = np.where(rows["path"].isin(wrong), (truth + 1) % CLASSES, truth)
    probabilities = np.full((len(rows), CLASSES), (1 - sure) / (CLASSES - 1))
    probabilities[np.arange(len(rows)), named] = sure
    kept = rows[["path", "pixels_sha256", "diagnosis", "group"]].reset_index(drop=True)
    return Predictions(kept, probabilities, ISIC9, named)


def folds(repeat: int = 0, wrong: tuple[str, ...] = ()) -> list[FoldPredictions]:
    rows = images()
    return [
        FoldPredictions(repeat, number, predictions(rows[number::FOLDS], wrong), trained=len(rows) // FOLDS, epochs=4)
        for number in range(FOLDS)
    ]


def test_mean_is_over_folds_and_pooled_figures_over_images(settings):
    report = measure(folds(wrong=("000.jpg", "003.jpg", "006.jpg")), images(), ISIC9, settings)

    assert [fold.figures["accuracy"] for fold in report.folds] == pytest.approx([0.9, 1.0, 1.0])
    assert report.mean["accuracy"].value == pytest.approx(87 / 90)
    assert report.pooled["accuracy"].value == pytest.approx(87 / 90)
    assert report.held_out_share == 1.0
    assert np.trace(report.confusion) == 87
    assert np.sum(report.confusion) == report.images == 90
    assert set(report.subgroups) == {"sex"}


def test_deal_depends_on_which_images_each_fold_holds_out_alone(settings):
    rows = images()
    dealt, turned = measure(folds(), rows, ISIC9, settings).deal, measure(folds(wrong=("000.jpg",))[::-1], rows, ISIC9, settings).deal
    exchanged = [replace(fold, number=FOLDS - 1 - fold.number) for fold in folds()]

    assert dealt == turned
    assert dealt != measure(exchanged, rows, ISIC9, settings).deal


def test_report_survives_writing_and_its_picture_is_drawn(settings, tmp_path):
    report = measure(folds(), images(), ISIC9, settings)
    report.write(tmp_path / "report.json")

    assert CrossValidation.read(tmp_path / "report.json") == report
    plots.draw(report, tmp_path / "folds.png")
    assert (tmp_path / "folds.png").stat().st_size > 5000


def test_only_images_that_every_repeat_gets_wrong_in_the_same_way_are_suspects():
    rows = images()
    found = find_suspects([predictions(rows, ("000.jpg", "004.jpg")), predictions(rows, ("000.jpg",))])

    assert [suspect.path for suspect in found] == ["000.jpg"]
    assert (found[0].diagnosis, found[0].named) == (ISIC9.outputs[0], ISIC9.outputs[1])


@pytest.mark.parametrize(("repeats", "warned"), [(1, True), (3, False)])
def test_suspects_of_few_repeats_are_printed_with_a_warning(settings, capsys, repeats, warned):
    every = [fold for repeat in range(repeats) for fold in folds(repeat, wrong=("000.jpg",))]
    print_summary(measure(every, images(), ISIC9, settings))

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("images whose label may be wrong: 1, see")
    assert ("More repeats (3)" in last) == warned


def test_image_that_is_wrong_without_confidence_is_not_a_suspect():
    assert find_suspects([predictions(images(), ("000.jpg",), sure=0.3)]) == ()


def test_result_of_a_fold_is_read_back_only_with_the_same_settings(settings, tmp_path):
    fold = folds(wrong=("000.jpg",))[0]
    results = FoldResults.of_settings("features a", settings, ISIC9, tmp_path)
    results.write(fold)

    kept = results.read(0, 0)
    assert kept is not None
    assert kept.held_out.probabilities.tolist() == fold.held_out.probabilities.tolist()
    assert kept.held_out.predicted.tolist() == fold.held_out.predicted.tolist()
    assert (kept.trained, kept.epochs) == (fold.trained, fold.epochs)
    assert results.read(0, 1) is None
    dropout = settings.model_copy(update={"train": settings.train.model_copy(update={"dropout": 0.123})})
    assert FoldResults.of_settings("features a", dropout, ISIC9, tmp_path).read(0, 0) is None
    assert FoldResults.of_settings("features b", settings, ISIC9, tmp_path).read(0, 0) is None
    assert replace(results, folder=tmp_path / "empty").read(0, 0) is None
