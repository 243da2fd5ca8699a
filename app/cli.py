"""The `lesionflow` command line. Heavy imports wait until a command needs them, so `--help` is quick."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from components.errors import LesionflowError, Unavailable
from components.stage import DISK_FULL, INTERRUPTED, TRY_LATER


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


@main.command("import")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@mendable
def import_command(source: Path) -> None:
    """Make SOURCE, a folder or a zip of class folders, the dataset in data/, and have DVC version it.

    Folder names are matched to the nine classes without regard to case, spaces and hyphens; Train/ and Test/ parents are
    flattened. metadata.csv, attribution.txt and licenses/ come along. The previous dataset stays in git and DVC.
    """
    from app.importing import import_dataset

    for line in import_dataset(source):
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
