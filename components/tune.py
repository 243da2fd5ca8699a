"""Search better settings of the head, then of fine-tuning, by balanced accuracy on validation or over folds; test is never read.

Reads params.yaml (`tuning`), build/splits.parquet, build/label_set.json, build/shards/resolution.json, data/ and the backbone's weights.
Writes the studies (build/tuning/studies.db or the database at LESIONFLOW_STUDY_URL), reports/tuning.json, reports/tuning/ and MLflow: a run
with a child for each trial. Several searches may share a study; an interrupted one goes on. It never changes params.yaml.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.core.files import atomic_write
from components.core.label_set import LabelSet
from components.core.paths import TUNING, TUNING_PLOTS
from components.core.reports.tuning import SearchResult, TuningReport
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.search import trial_features, tuning_report
from components.search.fold_cache import load_cache
from components.search.study import ended_trials
from components.search.study_database import require_database
from components.search.tuning import Searched, best_value, search_levels
from components.search.tuning_report import whole_report
from components.tracking.nested_runs import ParentRun, parent_run

if TYPE_CHECKING:
    import optuna

KIND = "tuning"
LOGGED = "run of trial {}"
"""Attribute of a study: the parent run that has this trial as a child."""


def tune(settings: Settings) -> TuningReport:
    """Search until `tuning.trials` settings of the head and `tuning.finetuned.trials` of fine-tuning were tried, and write the report.

    Raises:
        LesionflowError: the present setting is not in a space, weights are missing, or a database does not respond.
    """
    require_database()
    labels, params = LabelSet.load(), settings.tuning
    phase = "finetuned" if params.finetuned.trials else "frozen"
    varied = params.model_dump(exclude={"space": True, "finetuned": {"space"}})
    with parent_run(KIND, {**settings.logged(phase), "tuning": varied}, {"label_set": labels.name}) as parent:
        cache = load_cache(settings)
        searched = search_levels(cache, labels, settings, lambda one, trial: log_trial(parent, one, trial))
        for one in searched:
            for trial in not_logged(one.study):
                log_trial(parent, one, trial)
        report = whole_report(searched, settings)
        write_report(report, searched)
        parent.finish(figures(report), {TUNING: "reports", TUNING_PLOTS: "tuning"})
    trial_features.clear()
    print_summary(report)
    return report


def not_logged(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """The trials that have ended and have no run: those of worker processes, and of searches that were killed."""
    noted = study.user_attrs
    return [trial for trial in ended_trials(study) if LOGGED.format(trial.number) not in noted]


def log_trial(parent: ParentRun, searched: Searched, trial: "optuna.trial.FrozenTrial") -> None:
    """Log a trial that has ended as a child run, note that in the study, and print a line."""
    value, logged = best_value(trial), {**searched.values(trial), "state": trial.state.name.lower()}
    parent.add_child(searched.name(trial), logged, {} if value is None else {"balanced_accuracy": value})
    searched.study.set_user_attr(LOGGED.format(trial.number), parent.run_id)
    print(searched.line(trial), flush=True)


def figures(report: TuningReport) -> dict[str, float]:
    """The best and the present value, of the head alone under a name of their own if fine-tuning followed."""
    found = {"": report, "head/": report.head}
    values = {f"{name}best_value": one.best_value for name, one in found.items() if one}
    present = {f"{name}present_value": one.present_value for name, one in found.items() if one and one.present_value is not None}
    return {**values, **present}


def write_report(report: TuningReport, searched: Sequence[Searched]) -> None:
    """Write reports/tuning.json and reports/tuning/."""
    report.write(TUNING)
    with atomic_write(TUNING_PLOTS) as draft:
        draft.mkdir()
        for one in searched:
            tuning_report.draw(one.study, draft, "" if one.level.phase == "frozen" else "finetuned_")


def print_summary(report: TuningReport) -> None:
    """Print the best setting beside the present one, and what to do with it."""
    if report.head:
        print_values("of the head alone", report.head, report.objective)
    print_values("after fine-tuning" if report.head else "of the head", report, report.objective)
    for key, value in report.best.items():
        print(f"  {key}: {value}  (now {report.present[key]})")
    print("The best of many is lucky: compare it with the present setting by `lesionflow cv compare` before you keep it.")


def print_values(what: str, result: SearchResult, objective: str) -> None:
    """Print the best and the present value of a level."""
    present = "not known" if result.present_value is None else f"{result.present_value:.3f}"
    by = objective.replace("_", "-")
    print(f"balanced accuracy {what} by {by}: {result.best_value:.3f} (trial {result.best_trial}), now {present}")


if __name__ == "__main__":
    run(lambda: tune(load()), __doc__, tensorflow=True)
