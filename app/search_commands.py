"""The commands `lesionflow cv` and `lesionflow tune`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.user_errors import user_errors
from components.core.errors import LesionflowError
from components.core.escaping import for_terminal
from components.core.paths import CROSS_VALIDATION

if TYPE_CHECKING:
    from components.runtime.tuning_params import Phase


@click.group(invoke_without_command=True)
@click.option("--phase", type=click.Choice(("frozen", "finetuned")), help="What a fold trains, instead of cross_validation.phase.")
@click.pass_context
@user_errors
def cv(context: click.Context, phase: "Phase | None") -> None:
    """Cross-validate the settings of params.yaml on folds of the training and validation images.

    Test is never read. The views of all images pass through the frozen base once; each fold then trains a head in seconds. With the phase
    finetuned it also renders its views and fine-tunes, which takes about as long as the stages augment and finetune. An interrupted run
    continues, a fold that fine-tunes after its last epoch. Writes reports/cross_validation.json, with the images whose label may be wrong,
    and one MLflow run with a child for each fold.
    """
    if context.invoked_subcommand:
        return
    from components.cross_validate import cross_validate
    from components.runtime.params_file import load
    from components.runtime.tensorflow import load_tensorflow
    from components.search.cross_validation import in_phase

    settings = load()
    load_tensorflow()
    cross_validate(in_phase(settings, phase or settings.cross_validation.phase))


@cv.command("compare")
@click.argument("before", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("after", type=click.Path(dir_okay=False, path_type=Path), default=CROSS_VALIDATION)
@user_errors
def cv_compare(before: Path, after: Path) -> None:
    """Compare two cross-validations fold by fold.

    BEFORE is a copy of an earlier report, AFTER is reports/cross_validation.json if not given. Prints the mean difference of each metric
    with the 95 % interval of the corrected resampled t, and its standard error. Both must be of the same folds: the same data, seed, folds
    and repeats.
    """
    from components.core.reports.cross_validation import CrossValidation
    from components.search.comparison import compare

    for path in (before, after):
        if not path.exists():
            raise LesionflowError(f"{path} does not exist. `lesionflow cv` writes {CROSS_VALIDATION}.")
    reports = [CrossValidation.read(path) for path in (before, after)]
    found = compare(*reports)
    click.echo(f"{'':30} {'before':>7} {'after':>7}   {'difference':25} standard error")
    for name, row in found.items():
        label = for_terminal(reports[1].label_set.metric_label(name))
        click.echo(f"{label:30} {row.before:7.3f} {row.after:7.3f}   {f'{row.change:+.3f}':25} {row.standard_error:.3f}")
    main = found["balanced_accuracy"]
    verdict = ("higher" if main.change.value > 0 else "lower") if main.is_clear else "not different"
    click.echo(f"balanced accuracy is {verdict} by more than one standard error ({len(reports[0].folds)} folds; test was not read)")


@click.group(invoke_without_command=True)
@click.pass_context
@user_errors
def tune(context: click.Context) -> None:
    """Search better settings, as the section tuning of params.yaml describes: of the head, and with tuning.finetuned.trials of fine-tuning.

    Trials are judged on validation or over folds, never on test. The studies live in build/tuning/studies.db, or in the database at
    LESIONFLOW_STUDY_URL, where several searches share it; an interrupted search goes on. params.yaml is not changed.
    """
    if context.invoked_subcommand:
        return
    from components.runtime.params_file import load
    from components.runtime.tensorflow import load_tensorflow
    from components.tune import tune as run_search

    settings = load()
    load_tensorflow()
    run_search(settings)


@tune.command("apply")
@click.option("--yes", is_flag=True, help="Do not ask.")
@user_errors
def tune_apply(yes: bool) -> None:
    """Show what the best trial would change in params.yaml, ask, and change it."""
    from app import tuning

    report, before, after = tuning.proposal()
    changes = tuning.diff(before, after)
    if not changes:
        click.echo(f"the present setting is the best of {sum(report.counts.values())} trials; nothing to change")
        return
    present = "not known" if report.present_value is None else f"{report.present_value:.3f}"
    click.echo("\n".join(for_terminal(line) for line in changes))
    click.echo(f"balanced accuracy by {report.objective.replace('_', '-')}: {report.best_value:.3f}, now {present}")
    if not yes and not click.confirm("Change params.yaml?"):
        click.echo("nothing was changed")
        return
    tuning.write(after)
    click.echo("params.yaml changed; next: dvc repro")
