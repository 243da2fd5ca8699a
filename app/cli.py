"""The `lesionflow` command line. Heavy imports wait until a command needs them, so `--help` is quick."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from components.core.errors import LesionflowError, Unavailable
from components.core.escaping import for_terminal
from components.core.paths import DATA, UNFINISHED_SWAP
from components.runtime.stage import DISK_FULL, INTERRUPTED, TRY_LATER


def mendable(command: Callable[..., Any]) -> Callable[..., Any]:
    """End with one clear line and no traceback where a person can mend the fault."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            return command(*args, **kwargs)
        except LesionflowError as fault:
            for line in str(fault).splitlines():
                click.echo(f"error: {for_terminal(line)}", err=True)
            sys.exit(TRY_LATER if isinstance(fault, Unavailable) else 1)
        except OSError as fault:
            if fault.errno not in DISK_FULL:
                raise
            click.echo("error: the disk is full or a quota is reached: free some space and try again; nothing was changed", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            sys.exit(INTERRUPTED)

    return guarded


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lesionflow")
def main() -> None:
    """Skin-lesion classification as an orchestrated MLOps workflow. Run it from the project's root."""
    here = Path("app/cli.py")
    if here.exists() and not here.samefile(__file__):
        click.echo(
            f"error: this `lesionflow` runs the code of {Path(__file__).resolve().parents[1]}, not of this folder. Run `make setup` here.",
            err=True,
        )
        sys.exit(1)
    if UNFINISHED_SWAP.exists() and click.get_current_context().invoked_subcommand not in ("import", "data"):
        warn([f"{DATA}/ is being replaced, or an import was killed while it did that: then `lesionflow data recover` brings it in order"])


@main.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--collection", "collections", default="", metavar="ID[,ID]", help="With SOURCE isic: collections of the ISIC Archive.")
@click.option("--search", default="", metavar="QUERY", help="With SOURCE isic: a query, as diagnosis_3:Nevus AND age_approx:50.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="With SOURCE isic: at most so many images; 0 is no limit.")
@mendable
def import_command(source: Path, collections: str, search: str, limit: int) -> None:
    """Make SOURCE the dataset in data/, and have DVC version it.

    SOURCE is a folder, a zip or a tar of class folders, or the word isic for the ISIC Archive.

    Folder names are matched to the nine classes without regard to case, spaces and hyphens; Train/ and Test/ parents are
    joined, and metadata.csv keeps which was which. metadata.csv, attribution.txt and licenses/ come along. The previous
    dataset stays in git and DVC. Started again after an interruption, it carries on.
    """
    from app.data.ingest import import_dataset
    from app.data.isic import import_isic

    if source == Path("isic") and not source.exists():
        lines = import_isic(collections, search, limit)
    elif collections or search or limit:
        raise LesionflowError("--collection, --search and --limit go with `lesionflow import isic` alone")
    else:
        lines = import_dataset(source)
    for line in lines:
        click.echo(for_terminal(line))


@main.group()
def params() -> None:
    """params.yaml, which holds every parameter of the pipeline."""


@params.command()
@mendable
def check() -> None:
    """Check params.yaml: every key, its type and its range."""
    from components.runtime.params_file import PARAMS_FILE, load

    click.echo(f"{PARAMS_FILE}: {len(load().model_dump())} sections, all in order")


@main.group()
def data() -> None:
    """What the dataset holds, what is wrong with it, and how versions differ."""


@data.command()
@click.option("--decisions", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Take over a filled-in table of decisions.")
@mendable
def review(decisions: Path | None) -> None:
    """Write a page that shows every finding as pictures side by side, and take a person's decisions.

    The page is reports/review/index.html, with a table to fill in beside it: keep, drop or relabel. Given back with
    --decisions, it is merged into decisions.csv, which git versions and the next `dvc repro` applies.
    """
    from app.data.review import merge, write_page

    for line in write_page() if decisions is None else merge(decisions):
        click.echo(for_terminal(line))


@data.command()
@click.argument("old", metavar="REV1")
@click.argument("new", metavar="REV2", required=False)
@mendable
def diff(old: str, new: str | None) -> None:
    """Say what the datasets of two git revisions have apart; without REV2, REV1 against the files in data/."""
    from app.data.diff import compare

    for line in compare(old, new):
        click.echo(for_terminal(line))


@data.command("recover")
@mendable
def recover_command() -> None:
    """Bring data/ and data.dvc in order after an import that was killed while it replaced them; otherwise change nothing."""
    from app.data.replacement import locked, recover

    with locked():
        for line in list(recover()) or [f"{DATA}/ and data.dvc are in order: no import was interrupted"]:
            click.echo(line)


@data.command("adopt")
@click.argument("checkout", type=click.Path(exists=True, file_okay=False, path_type=Path))
@mendable
def adopt_command(checkout: Path) -> None:
    """Make data/ and data.dvc of CHECKOUT the dataset here: both change or neither. CHECKOUT is a copy of this project, on the same
    file system; its data/ is moved."""
    from app.data.replacement import adopt

    for line in adopt(checkout):
        click.echo(line)


FORMAT = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@FORMAT
@click.option("--model-version", default="champion", show_default=True, help="An alias or a version number of the registered model.")
@mendable
def predict(images: tuple[Path, ...], form: str, model_version: str) -> None:
    """Diagnose IMAGES with the champion: the diagnosis and its calibrated probabilities for each.

    Exit code 1 where any image could not be read; the others are diagnosed all the same.
    """
    from app.models.predict import as_json, as_table, diagnose

    result = diagnose(list(images), model_version)
    warn(result.warnings)
    for path, reason in result.unreadable.items():
        click.echo(f"error: {for_terminal(str(path))}: {for_terminal(reason)}", err=True)
    click.echo(as_json(result) if form == "json" else as_table(result))
    sys.exit(1 if result.unreadable else 0)


@main.command()
@mendable
def summary() -> None:
    """Say what the last run of the pipeline came to, and where to look further."""
    from app.summary import lines

    for line in lines():
        click.echo(for_terminal(line))


@main.group()
def champion() -> None:
    """Which version serves, how it came to, and changing it. Every change is in the promotion record."""


@champion.command("show")
@FORMAT
@mendable
def champion_show(form: str) -> None:
    """The champion, with the challenger beside it: figures, the gate's verdict rule by rule, where it came from."""
    from app.models.champion import as_json, look, warnings_of
    from app.models.overview import overview, overview_table

    client, standing = look()
    found = overview(client, standing)
    warn(warnings_of(standing))
    click.echo(as_json(found) if form == "json" else overview_table(found))


@champion.command("history")
@FORMAT
@mendable
def champion_history(form: str) -> None:
    """Every change of champion, oldest first."""
    from app.models.champion import as_json, history_table, look, warnings_of

    _, standing = look()
    warn(warnings_of(standing))
    click.echo(as_json(standing.entries) if form == "json" else history_table(standing.model, standing.entries))


@champion.command("promote")
@click.argument("version")
@click.option("--override", metavar="REASON", help="Promote it though the gate does not pass it; the reason is recorded.")
@mendable
def champion_promote(version: str, override: str | None) -> None:
    """Make VERSION (a number or an alias, as challenger) champion, if it passes the gate against the present champion.

    The thresholds are those of params.yaml now. Exit code 1 where the gate refuses it.
    """
    from app.models.champion import promote

    decision = promote(version, override)
    warn(decision.warnings)
    for rule in decision.rules:
        click.echo(f"  {'pass' if rule.passed else 'FAIL'}  {rule.name}: {for_terminal(rule.says)}")
    if decision.promotion is not None:
        before, source = decision.promotion.before, decision.promotion.source
        click.echo(f"{decision.model} version {decision.version} is champion now (before: {before or 'none'}; by: {source})")
    elif decision.rules:
        click.echo(f"error: the gate does not pass version {decision.version}: --override REASON promotes it all the same", err=True)
        sys.exit(1)
    else:
        click.echo(f"{decision.model} version {decision.version} is champion already: nothing was changed")


@champion.command("rollback")
@click.option("--reason", help="Why, for the promotion record.")
@mendable
def champion_rollback(reason: str | None) -> None:
    """Return to the champion before; once more, and it goes one further back."""
    from app.models.champion import rollback

    decision = rollback(reason)
    warn(decision.warnings)
    before = decision.promotion.before if decision.promotion else None
    click.echo(f"{decision.model} version {decision.version} is champion again (before: {before or 'none'})")


@champion.command("verify")
@click.argument("version", default="champion")
@FORMAT
@mendable
def champion_verify(version: str, form: str) -> None:
    """Evaluate VERSION (a number or an alias; without one, the champion) again on its test images.

    Exit code 1 where a figure is not what was recorded.
    """
    from app.models.champion import as_json
    from app.models.verify import holds, lines, verify

    report = verify(version)
    click.echo(as_json(report) if form == "json" else "\n".join(lines(report)))
    sys.exit(0 if holds(report) else 1)


def warn(lines: list[str]) -> None:
    """Warnings, on standard error so that JSON stands alone."""
    for line in lines:
        click.echo(f"warning: {for_terminal(line)}", err=True)


if __name__ == "__main__":
    main()
