"""The commands `lesionflow data`. They import heavy packages when they run, so that `--help` is fast."""

from pathlib import Path

import click

from app.user_errors import user_errors
from components.core.escaping import for_terminal
from components.core.paths import DATA


@click.group()
def data() -> None:
    """Review, compare, reduce and repair the dataset."""


@data.command()
@click.option("--decisions", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Merge a completed decision table.")
@user_errors
def review(decisions: Path | None) -> None:
    """Write a page with the images of every finding, or merge the reviewer's decisions.

    The page is reports/review/index.html. Next to it is decisions.csv, a table to complete with keep, drop or relabel. With
    --decisions, the completed table is merged into decisions.csv in the project's root, which the next `dvc repro` applies.
    """
    from app.data.review import merge, write_page

    for line in write_page() if decisions is None else merge(decisions):
        click.echo(for_terminal(line))


@data.command()
@click.argument("old", metavar="REV1")
@click.argument("new", metavar="REV2", required=False)
@user_errors
def diff(old: str, new: str | None) -> None:
    """Show differences between the datasets of two git revisions; without REV2, between REV1 and the files in data/."""
    from app.data.diff import compare

    for line in compare(old, new):
        click.echo(for_terminal(line))


@data.command("remove")
@click.option("--patient", "patients", multiple=True, metavar="ID", help="A patient, by the source's id; may be repeated.")
@click.option("--lesion", "lesions", multiple=True, metavar="ID", help="A lesion; may be repeated.")
@click.option("--image", "images", multiple=True, metavar="NAME", help="A path in data/, a file name or an isic_id; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Print what would be removed and change nothing.")
@user_errors
def remove_command(patients: tuple[str, ...], lesions: tuple[str, ...], images: tuple[str, ...], dry_run: bool) -> None:
    """Remove images from data/, for example after a withdrawn consent, and list the model versions that were trained with them.

    Their rows of metadata.csv are removed too. data/ and data.dvc change together or not at all. Exit code 1 if an id is unknown. Earlier
    revisions and the DVC cache still hold the images; what to do about these is printed.
    """
    from app.data.removal import remove_images
    from app.data.selection import Selection

    for line in remove_images(Selection(patients, lesions, images), dry_run):
        click.echo(for_terminal(line))


@data.command("recover")
@user_errors
def recover_command() -> None:
    """Restore data/ and data.dvc after an import was killed while replacing them; otherwise change nothing."""
    from app.data.replacement import locked, recover_dataset

    with locked():
        for line in list(recover_dataset()) or [f"{DATA}/ and data.dvc are consistent: no import was interrupted"]:
            click.echo(line)


@data.command("adopt")
@click.argument("checkout", type=click.Path(exists=True, file_okay=False, path_type=Path))
@user_errors
def adopt_command(checkout: Path) -> None:
    """Replace data/ and data.dvc with those of CHECKOUT: either both change or neither. CHECKOUT is a copy of this project on the
    same file system; its data/ is moved."""
    from app.data.replacement import adopt_dataset

    for line in adopt_dataset(checkout):
        click.echo(line)
