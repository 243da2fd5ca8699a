"""Search better settings of the head, with Optuna, by balanced accuracy on validation or over folds; test is never read.

Reads params.yaml (`tuning`), build/splits.parquet, build/label_set.json, build/shards/resolution.json, data/ and the backbone's weights.
Writes the study (build/tuning/studies.db or the database at LESIONFLOW_STUDY_URL), reports/tuning.json, reports/tuning/ and MLflow: a run
with a child for each trial. Several searches may share the study; an interrupted one goes on. It never changes params.yaml.
"""

from typing import TYPE_CHECKING

from components.core.files import atomic_write
from components.core.label_set import LabelSet
from components.core.paths import TUNING, TUNING_PLOTS
from components.core.reports.tuning import TuningReport
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.search import tuning_report
from components.search.fold_cache import load_cache
from components.search.objectives import make_objective
from components.search.study import ended_trials, open_study, search, study_name
from components.search.study_database import require_database
from components.search.tuning_report import report_of, restored_values
from components.tracking.nested_runs import ParentRun, parent_run

if TYPE_CHECKING:
    import optuna

KIND = "tuning"
LOGGED = "run of trial {}"
"""Attribute of a study: the parent run that has this trial as a child."""


def tune(settings: Settings) -> TuningReport:
    """Search until `tuning.trials` settings were tried, and write the report.

    Raises:
        LesionflowError: the present setting is not in the space, weights are missing, or a database does not respond.
    """
    require_database()
    labels, params = LabelSet.load(), settings.tuning
    logged = {**settings.logged("frozen"), "tuning": params.model_dump(exclude={"space"})}
    with parent_run(KIND, logged, {"label_set": labels.name}) as parent:
        cache = load_cache(settings)
        study = open_study(study_name(cache.identity, labels, settings), settings)
        search(study, settings, make_objective(cache, labels, settings), lambda trial: log_trial(parent, trial, study, params.trials))
        for trial in not_logged(study):
            log_trial(parent, trial, study, params.trials)
        report = report_of(study, settings)
        write_report(report, study)
        values = {"best_value": report.best_value, **({} if report.present_value is None else {"present_value": report.present_value})}
        parent.finish(values, {TUNING: "reports", TUNING_PLOTS: "tuning"})
    print_summary(report)
    return report


def not_logged(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    """The trials that have ended and have no run: those of worker processes, and of searches that were killed."""
    noted = study.user_attrs
    return [trial for trial in ended_trials(study) if LOGGED.format(trial.number) not in noted]


def log_trial(parent: ParentRun, trial: "optuna.trial.FrozenTrial", study: "optuna.Study", wanted: int) -> None:
    """Log a trial that has ended as a child run, note that in the study, and print its value."""
    state, values = trial.state.name.lower(), restored_values(trial.params)
    value = trial.value if trial.value is not None else max(trial.intermediate_values.values(), default=None)
    parent.add_child(f"trial {trial.number}", {**values, "state": state}, {} if value is None else {"balanced_accuracy": value})
    study.set_user_attr(LOGGED.format(trial.number), parent.run_id)
    shown = "no value" if value is None else f"{value:.3f}"
    print(f"trial {trial.number} of {wanted}: {shown} ({state}) {values}", flush=True)


def write_report(report: TuningReport, study: "optuna.Study") -> None:
    """Write reports/tuning.json and reports/tuning/."""
    report.write(TUNING)
    with atomic_write(TUNING_PLOTS) as draft:
        draft.mkdir()
        tuning_report.draw(study, draft)


def print_summary(report: TuningReport) -> None:
    """Print the best setting beside the present one, and what to do with it."""
    present = "not known" if report.present_value is None else f"{report.present_value:.3f}"
    print(f"balanced accuracy by {report.objective.replace('_', '-')}: {report.best_value:.3f} (trial {report.best_trial}), now {present}")
    for key, value in report.best.items():
        print(f"  {key}: {value}  (now {report.present[key]})")
    print("The best of many is lucky: compare it with the present setting by `lesionflow cv` before you take it (`lesionflow tune apply`).")


if __name__ == "__main__":
    run(lambda: tune(load()), __doc__, tensorflow=True)
