"""Cross-validate the settings of params.yaml on folds of the training and validation images, up to `cross_validation.phase`.

Reads build/splits.parquet, build/label_set.json, build/shards/resolution.json, data/ and the backbone's weights; never a test image. Writes
reports/cross_validation.json, reports/cross_validation/, build/cv/ (features, and the result of each fold, from which a second run
continues; a fold that fine-tunes continues after its last epoch) and MLflow: one run with a child for each fold.
"""

from components.core.files import atomic_write
from components.core.label_set import LabelSet
from components.core.paths import CROSS_VALIDATION, CROSS_VALIDATION_PLOTS
from components.core.reports.cross_validation import CrossValidation
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.search import fold_finetuning, plots, work_folders
from components.search.cross_validation import run_folds
from components.search.fold_cache import load_cache
from components.search.fold_results import FoldResults
from components.search.measurement import FoldPredictions, fold_figures, measure
from components.tracking.nested_runs import ParentRun, parent_run

KIND = "cross-validation"
ENOUGH_REPEATS = 3
"""From which on all repeats rarely name the same wrong class by chance."""


def cross_validate(settings: Settings) -> CrossValidation:
    """Run the folds and write the report.

    Raises:
        LesionflowError: a class has fewer groups than there are folds, weights are missing, or MLflow does not respond.
    """
    labels, params = LabelSet.load(), settings.cross_validation
    logged = {**settings.logged(params.phase), "cross_validation": params.model_dump()}
    with parent_run(KIND, logged, {"label_set": labels.name, "phase": params.phase}) as parent:
        cache = load_cache(settings)
        results = FoldResults.of_settings(cache.identity, settings, labels)
        folds = []
        for fold in run_folds(cache, labels, settings, results):
            folds.append(fold)
            log_fold(parent, fold, len(folds), settings)
        report = measure(folds, cache.images, labels, settings)
        write_report(report)
        means = {f"mean/{name}": row.value for name, row in report.mean.items()}
        bounds = {f"{end}/{name}": getattr(row, end) for end in ("low", "high") for name, row in report.mean.items()}
        work_folders.clear(fold_finetuning.FOLDER)
        parent.finish({**means, **bounds}, {CROSS_VALIDATION: "reports", CROSS_VALIDATION_PLOTS: "cross_validation"})
    print_summary(report)
    return report


def log_fold(parent: ParentRun, fold: FoldPredictions, done: int, settings: Settings) -> None:
    """Log a fold as a child run, and print its balanced accuracy."""
    figures = fold_figures(fold.held_out, settings.evaluate.calibration_bins)
    name = f"repeat {fold.repeat} fold {fold.number}"
    place = {"repeat": fold.repeat, "fold": fold.number, "phase": settings.cross_validation.phase}
    parent.add_child(name, place, {**figures, "epochs": fold.epochs})
    total = settings.cross_validation.folds * settings.cross_validation.repeats
    print(f"{done} of {total}: {name}, balanced accuracy {figures['balanced_accuracy']:.3f}, {fold.epochs} epochs", flush=True)


def write_report(report: CrossValidation) -> None:
    """Write reports/cross_validation.json and reports/cross_validation/."""
    report.write(CROSS_VALIDATION)
    with atomic_write(CROSS_VALIDATION_PLOTS) as draft:
        draft.mkdir()
        plots.draw(report, draft / "folds.png")


def print_summary(report: CrossValidation) -> None:
    """Print the mean of each metric with its interval, and the number of suspects."""
    for name, row in report.mean.items():
        print(f"{report.label_set.metric_label(name):30} {row:.3f}")
    print(
        f"means over {len(report.folds)} folds ({report.phase}) of {report.images} training and validation images, with 95 % intervals of"
        " the corrected resampled t; test was not read"
    )
    if report.suspects:
        repeats = len({fold.repeat for fold in report.folds})
        hint = "" if repeats >= ENOUGH_REPEATS else f". More repeats ({ENOUGH_REPEATS}) leave fewer whose label is right."
        print(f"images whose label may be wrong: {len(report.suspects)}, see {CROSS_VALIDATION}, suspects{hint}")


if __name__ == "__main__":
    run(lambda: cross_validate(load()), __doc__, tensorflow=True)
