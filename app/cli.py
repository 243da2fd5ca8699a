"""The `lesionflow` command line. Heavy imports wait until a command needs them, so `--help` is quick."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from components.errors import LesionflowError
from components.stage import DISK_FULL, INTERRUPTED


def mendable(command: Callable[..., Any]) -> Callable[..., Any]:
    """End with one clear line and no traceback where a person can mend the fault."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            return command(*args, **kwargs)
        except LesionflowError as fault:
            for line in str(fault).splitlines():
                click.echo(f"error: {line}", err=True)
            sys.exit(1)
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
    from app.importing import import_dataset
    from app.isic import import_isic

    if source == Path("isic") and not source.exists():
        lines = import_isic(collections, search, limit)
    elif collections or search or limit:
        raise LesionflowError("--collection, --search and --limit go with `lesionflow import isic` alone")
    else:
        lines = import_dataset(source)
    for line in lines:
        click.echo(line)


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
    from app.reviewing import merge, write_page

    for line in write_page() if decisions is None else merge(decisions):
        click.echo(line)


@data.command()
@click.argument("old", metavar="REV1")
@click.argument("new", metavar="REV2", required=False)
@mendable
def diff(old: str, new: str | None) -> None:
    """Say what the datasets of two git revisions have apart; without REV2, REV1 against the files in data/."""
    from app.differing import compare

    for line in compare(old, new):
        click.echo(line)


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--model-version", default="champion", show_default=True, help="An alias or a version number of the registered model.")
@mendable
def predict(images: tuple[Path, ...], form: str, model_version: str) -> None:
    """Diagnose IMAGES with the champion: the diagnosis and its calibrated probabilities for each.

    Exit code 1 where any image could not be read; the others are diagnosed all the same.
    """
    from app.predicting import as_json, as_table, diagnose

    result = diagnose(list(images), model_version)
    for path, reason in result.unreadable.items():
        click.echo(f"error: {path}: {reason}", err=True)
    click.echo(as_json(result) if form == "json" else as_table(result))
    sys.exit(1 if result.unreadable else 0)


@main.command()
@mendable
def summary() -> None:
    """Say what the last run of the pipeline came to, and where to look further."""
    from app.summary import lines

    for line in lines():
        click.echo(line)


if __name__ == "__main__":
    main()
