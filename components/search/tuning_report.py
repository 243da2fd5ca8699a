"""The report and the pictures of a search."""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import pyplot as plt

from components.core.plotting import save_figure
from components.core.reports.tuning import SearchResult, TuningReport
from components.runtime.params import Settings
from components.search.levels import Level
from components.search.study import DEFAULT
from components.search.tuning import Searched

if TYPE_CHECKING:
    import optuna

LEAST_TRIALS = 4
"""Complete trials from which importance is estimated."""


def whole_report(searched: Sequence[Searched], settings: Settings) -> TuningReport:
    """The report of a search, each level of which has a complete trial: that of its last level."""
    results = [report_of(one.study, settings, one.level) for one in searched]
    return TuningReport(
        **results[-1].model_dump(),
        head=results[0] if len(results) > 1 else None,
        objective=settings.tuning.objective,
        phase=searched[-1].level.phase,
    )


def report_of(study: "optuna.Study", settings: Settings, level: Level) -> SearchResult:
    """The result of a study with at least one complete trial; `level`: what it varies."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    default = next((trial for trial in trials if DEFAULT in trial.user_attrs and trial.state == TrialState.COMPLETE), None)
    best = study.best_trial
    return SearchResult(
        best=level.values(best.params),
        best_trial=best.number,
        best_value=float(best.value or 0.0),
        counts=dict(Counter(trial.state.name.lower() for trial in trials)),
        importance=importance(study),
        present=level.values(level.present(settings)),
        present_value=None if default is None else default.value,
        study=study.study_name,
    )


def importance(study: "optuna.Study") -> dict[str, float]:
    """Importance of each varied key, largest first (Hutter et al. 2014, fANOVA, by Optuna); empty with few complete trials."""
    import optuna

    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < LEAST_TRIALS or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return {key: round(value, 6) for key, value in optuna.importance.get_param_importances(study, evaluator=evaluator).items()}


def draw(study: "optuna.Study", folder: Path, prefix: str = "") -> None:
    """Draw history, importance and parallel coordinates into a folder, in files whose names start with the prefix."""
    from optuna.visualization import matplotlib as pictures

    drawn = {"history": pictures.plot_optimization_history, "parallel_coordinates": pictures.plot_parallel_coordinate}
    if importance(study):
        drawn["importance"] = pictures.plot_param_importances
    for name, plot in drawn.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna warns that its pictures by Matplotlib are experimental
            axes = plot(study)
        axes.figure.set_size_inches(9, 5)
        save_figure(axes.figure, folder / f"{prefix}{name}.png")
    plt.close("all")
