"""The `lesionflow` command line. Commands import heavy packages when they run, so that `--help` is fast."""

import sys
from pathlib import Path
from typing import Any

import click

from app.data.commands import data
from app.search_commands import cv, tune
from app.user_errors import user_errors
from components.core.escaping import for_terminal
from components.core.paths import DATA, UNFINISHED_SWAP


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lesionflow")
def main() -> None:
    """Skin-lesion classification as an MLOps workflow. Run it from the project's root."""
    here = Path("app/cli.py")
    if here.exists() and not here.samefile(__file__):
        click.echo(
            f"error: this `lesionflow` runs the code in {Path(__file__).resolve().parents[1]}, not in this folder. Run `make setup` here.",
            err=True,
        )
        sys.exit(1)
    if UNFINISHED_SWAP.exists() and click.get_current_context().invoked_subcommand not in ("import", "data"):
        warn([f"{DATA}/ is being replaced, or an import was killed while replacing it. If none is running, run `lesionflow data recover`."])


@main.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--form", "form_name", metavar="NAME", help="Form of SOURCE, instead of the one that is recognised; a wrong NAME lists all.")
@click.option("--table", type=click.Path(path_type=Path), help="The table that describes the images: a file, or its name in SOURCE.")
@click.option("--table-description", type=click.Path(path_type=Path), help="A YAML file that names --table and its columns.")
@click.option("--image-column", metavar="HEADER", help="Column of --table with the images' file names or IDs.")
@click.option("--label-column", metavar="HEADER", help="Column of --table with the diagnoses.")
@click.option("--lesion-column", metavar="HEADER", help="Column of --table with the lesions.")
@click.option("--patient-column", metavar="HEADER", help="Column of --table with the patients.")
@click.option("--image-type", type=click.Choice(["dermoscopic", "clinical"]), help="Type of the images to import; others are left out.")
@click.option("--add", is_flag=True, help="Add the images to the present dataset instead of replacing it.")
@click.option("--source", "source_name", metavar="NAME", help="Prefix of ids; take the same in each delivery of a clinic.")
@click.option("--dry-run", is_flag=True, help="Print what would be imported and change nothing.")
@click.option("--collection", "collections", default="", metavar="ID[,ID]", help="With SOURCE isic: IDs of ISIC Archive collections.")
@click.option("--search", default="", metavar="QUERY", help="With SOURCE isic: a search query, for example sex:female AND age_approx:50.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="With SOURCE isic: maximum number of images; 0 means no limit.")
@user_errors
def import_command(source: Path, **options: Any) -> None:
    """Import SOURCE as the dataset in data/ and track it with DVC.

    SOURCE is a folder, a zip or a tar archive, or the word isic for the ISIC Archive. Its form is recognised by the headers of its tables
    and by its folders: one folder per diagnosis, HAM10000, ISIC 2018 (task 3), 2019 and 2020, MILK10k, PAD-UFES-20, Derm7pt, PH2, a
    download of the ISIC Archive, or images and a table with their diagnoses. The form and the reason are printed.

    Each image keeps its source's own diagnosis; labels/ holds the label sets that turn diagnoses into classes. Images under Train/ and
    Test/ are merged; the column given_side of metadata.csv keeps the original split. Of tables, only known columns are imported;
    attribution.txt and licenses/ are imported too. Patient ids become keys under a secret of this machine, and metadata of images stays
    out. HEIC and DICOM need the optional packages pillow-heif and pydicom. The previous dataset stays in git and DVC. An interrupted import
    resumes when it is run again.

    With --add, images that are in data/ already, by ISIC Archive ID or equal bytes, are named and not added again. Images of another
    type, or an image that data/ labels otherwise, are refused.
    """
    from app.data.import_command import import_messages

    for line in import_messages(source, options):
        click.echo(for_terminal(line))


@main.group()
def params() -> None:
    """Work with params.yaml, which holds every parameter of the pipeline."""


@params.command()
@user_errors
def check() -> None:
    """Validate every key of params.yaml, its type and its range, and the keys of card.yaml."""
    from components.core.reports.statements import STATEMENTS_FILE, Statements
    from components.runtime.params_file import PARAMS_FILE, load

    click.echo(f"{PARAMS_FILE}: {len(load().model_dump())} sections, all valid")
    stated = [text for text in Statements.load().model_dump().values() if text]
    click.echo(f"{STATEMENTS_FILE}: {len(stated)} of {len(Statements.model_fields)} keys stated, all valid")


main.add_command(data)
main.add_command(cv)
main.add_command(tune)

format_option = click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="IMAGE... | FOLDER...", type=click.Path(path_type=Path))
@click.option("--version", "--model-version", "version", default="champion", show_default=True, help="An alias or a number of a version.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "jsonl", "csv"]),
    help="Format of the answers; default: table, or with --output by its suffix, .csv or .jsonl.",
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Write each answer to FILE; run again, it goes on there.")
@click.option("--lesion", "is_lesion", is_flag=True, help="All pictures show one lesion: answer from their mean, and show their spread.")
@user_errors
def predict(version: str, **options: Any) -> None:
    """Predict the diagnosis of images with the champion, or of all images in folders.

    The answer has the named diagnosis, calibrated probabilities, the prediction set, and first of all whether the malignant probability
    is at or above the operating point triage. The version may abstain; it says why and withholds the ranking. One image gets a table of
    its own, several get a line each.

    With --output, files that FILE has answers about from the same version are skipped, and those that could not be read are tried again. A
    file that cannot be read has a row with the reason. Exit code 1 if there is one; 3 if the version abstains from any image; 0 otherwise.
    """
    from app.models import predict_command, served_version
    from components.runtime import params_file

    request = predict_command.Request(**options)
    predict_command.check(request)
    settings = params_file.load()
    loaded = served_version.load(settings.registration.registered_model, version)
    warn(loaded.warnings)
    sys.exit(predict_command.run(request, loaded, settings.importing.max_file_mb))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--version", default="champion", show_default=True, help="An alias, which is followed when it moves, or a version number.")
@click.option("--model", metavar="NAME", help="The registered model; default: the one of params.yaml.")
@click.option("--threads", type=click.IntRange(1, 256), help="Images that are computed at a time; default: one per processor, at most 8.")
@click.option("--waiting", type=click.IntRange(0, 10_000), default=32, show_default=True, help="Requests that may wait; more get 503.")
@click.option("--allowed-host", "allowed_hosts", multiple=True, metavar="NAME", help="A name that requests may call the service by.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), metavar="FILE", help="PEM file of the certificate, for HTTPS.")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="PEM file of the certificate's private key.")
@click.option("--behind-proxy", is_flag=True, help="A proxy before the service ends TLS.")
@click.option("--review", is_flag=True, help="Serve /review, where people decide on findings of the data check.")
@click.option("--ask-first", is_flag=True, help="Ask for the reader's own impression before the answer is shown.")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Folder for versions that were fetched.")
@user_errors
def serve(threads: int | None, **options: Any) -> None:
    """Serve answers of a version to programs (/v1) and on a page for people (/), until Ctrl-C.

    Where other machines reach it, the service needs a key, whose file LESIONFLOW_API_KEY_FILE names (or LESIONFLOW_API_KEY holds), and
    TLS: --tls-certificate and --tls-key, or --behind-proxy. No request is stored. /ready and /metrics tell how it is.
    """
    from app.models.predict import THREADS
    from app.server import command
    from app.server.options import Options, settings_of

    command.run(settings_of(Options(threads=threads or THREADS, **options)))


@main.command()
@click.argument("version", default="champion")
@user_errors
def card(version: str) -> None:
    """Print the model card of VERSION (a number or an alias; default: the champion) as Markdown."""
    from app.models.card import card_text

    click.echo(card_text(version), nl=False)


@main.command()
@user_errors
def summary() -> None:
    """Print a summary of the last pipeline run and where to find its reports."""
    from app.summary import summary_lines

    for line in summary_lines():
        click.echo(for_terminal(line))


@main.command()
@click.option(
    "--to", "target", required=True, type=click.Path(path_type=Path), metavar="DIR", help="A new or empty folder, or an earlier export."
)
@click.option("--version", default="champion", show_default=True, help="An alias or a version number of the registered model.")
@user_errors
def export(target: Path, version: str) -> None:
    """Export a version for phones: TFLite files with metadata, labels, thresholds, the model card and an example in Python.

    MediaPipe Tasks and ML Kit load the files as they are. README.md in DIR describes how an app prepares a picture and what it makes of the
    probabilities. An earlier export is replaced as a whole; a folder with any other file, or with a changed one, is refused.
    """
    from app.models.export import export_version

    for line in export_version(target, version).lines:
        click.echo(for_terminal(line))


@main.group()
def champion() -> None:
    """Show, change and verify the champion, the model version that is served. Every change is in the promotion record."""


@champion.command("show")
@format_option
@user_errors
def champion_show(form: str) -> None:
    """Show the champion and the challenger: metrics, the gate's result for each rule, and provenance."""
    from app.models.champion import as_json, load_champion_state, state_warnings
    from app.models.overview import build_overview, overview_table

    client, state = load_champion_state()
    found = build_overview(client, state)
    warn(state_warnings(state))
    click.echo(as_json(found) if form == "json" else overview_table(found))


@champion.command("history")
@format_option
@user_errors
def champion_history(form: str) -> None:
    """List every change of the champion, oldest first."""
    from app.models.champion import as_json, history_table, load_champion_state, state_warnings

    _, state = load_champion_state()
    warn(state_warnings(state))
    click.echo(as_json(state.entries) if form == "json" else history_table(state.model, state.entries))


@champion.command("promote")
@click.argument("version")
@click.option("--override", metavar="REASON", help="Promote even if the gate fails; the reason is recorded.")
@user_errors
def champion_promote(version: str, override: str | None) -> None:
    """Make VERSION (a number or an alias such as challenger) the champion if it passes the gate against the current champion.

    The thresholds come from the current params.yaml. Exit code 1 if the gate fails.
    """
    from app.models.champion import promote

    decision = promote(version, override)
    warn(decision.warnings)
    for rule in decision.rules:
        click.echo(f"  {'pass' if rule.passed else 'FAIL'}  {rule.name}: {for_terminal(rule.says)}")
    if decision.promotion is not None:
        before, source = decision.promotion.before, decision.promotion.source
        click.echo(f"{decision.model} version {decision.version} is now the champion (before: {before or 'none'}; by: {source})")
    elif decision.rules:
        click.echo(f"error: version {decision.version} fails the gate. Use --override REASON to promote it anyway.", err=True)
        sys.exit(1)
    else:
        click.echo(f"{decision.model} version {decision.version} is already the champion; nothing was changed")


@champion.command("rollback")
@click.option("--reason", help="Reason, stored in the promotion record.")
@user_errors
def champion_rollback(reason: str | None) -> None:
    """Roll back to the previous champion. A second rollback returns to the version before that."""
    from app.models.champion import rollback

    decision = rollback(reason)
    warn(decision.warnings)
    before = decision.promotion.before if decision.promotion else None
    click.echo(f"{decision.model} version {decision.version} is the champion again (before: {before or 'none'})")


@champion.command("verify")
@click.argument("version", default="champion")
@format_option
@user_errors
def champion_verify(version: str, form: str) -> None:
    """Evaluate VERSION (a number or an alias; default: the champion) again on its test images.

    Exit code 1 if a metric differs from the recorded value.
    """
    from app.models.champion import as_json
    from app.models.verify import is_reproduced, lines, verify_version

    report = verify_version(version)
    click.echo(as_json(report) if form == "json" else "\n".join(lines(report)))
    sys.exit(0 if is_reproduced(report) else 1)


def warn(lines: list[str]) -> None:
    """Print warnings to standard error, so that standard output holds only the result."""
    for line in lines:
        click.echo(f"warning: {for_terminal(line)}", err=True)


if __name__ == "__main__":
    main()
