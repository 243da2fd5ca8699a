"""Options of `lesionflow import`."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main
from tests.support.images import encoded, noise
from tests.support.project import ROOT


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A flat folder with a table, and a project as the working directory."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "labels").symlink_to(ROOT / "labels")
    (root / "params.yaml").symlink_to(ROOT / "params.yaml")
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(encoded(noise(1)))
    (folder / "list.csv").write_text("Photo,Finding,Case,Person\na,nv,1,2\n")
    monkeypatch.chdir(root)
    return folder


def invoke(*arguments: str):
    return CliRunner().invoke(main, ["import", *arguments])


def test_dry_run_of_described_table(source):
    columns = ("--image-column", "Photo", "--label-column", "Finding", "--lesion-column", "Case", "--patient-column", "Person")
    result = invoke(str(source), "--dry-run", "--table", str(source / "list.csv"), *columns)
    assert result.exit_code == 0, result.output
    assert "metadata: diagnosis 1, lesion_id 1, patient_id 1 of 1 images" in result.output
    assert result.output.splitlines()[-1] == "dry run: 1 images in 1 classes would be imported; nothing was changed"
    assert sorted(path.name for path in Path().iterdir()) == ["labels", "params.yaml"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["SOURCE", "--image-column", "Photo"], "require --table"),
        (["SOURCE", "--limit", "5"], "require the source isic"),
        (["SOURCE", "--dry-run"], "the form of this source is not known"),
        (["isic", "--dry-run", "--limit", "5"], "the source isic takes only --collection, --search, --limit and --add"),
        (["isic", "--form", "folders"], "the source isic takes only --collection, --search, --limit and --add"),
        (["SOURCE", "--dry-run", "--form", "none"], "there is no form 'none'; the forms are"),
    ],
)
def test_refused_options_exit_with_one_line(source, options, message):
    result = invoke(*(str(source) if option == "SOURCE" else option for option in options))
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert message in result.output
    assert result.output.count("\n") == 1


DESCRIPTION = "table: {file: list.csv, image_column: Photo, label_column: Finding, patient_column: Person}\n"


def test_dry_run_with_table_description(source):
    Path("table.yaml").write_text(f"form: table\n{DESCRIPTION}")
    result = invoke(str(source), "--dry-run", "--table-description", "table.yaml")
    assert result.exit_code == 0, result.output
    assert "metadata: diagnosis 1, patient_id 1 of 1 images" in result.output
    (source / "list.csv").rename(source / "new.csv")
    assert invoke(str(source), "--dry-run", "--table-description", "table.yaml", "--table", "new.csv").output == result.output.replace(
        "list.csv", "new.csv"
    )


def test_description_names_the_source_unless_an_option_does(source):
    Path("table.yaml").write_text(f"namespace: clinic-a\n{DESCRIPTION}")
    for options, name in (([], "clinic-a"), (["--source", "Clinic B"], "clinic-b")):
        result = invoke(str(source), "--dry-run", "--table-description", "table.yaml", *options)
        assert f"namespace of lesions and patients, but for those of the ISIC Archive: {name} " in result.output


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (None, [], "--table-description table.yaml cannot be read: "),
        ("a: [", [], "--table-description table.yaml cannot be read: "),
        ("form: folders", [], "--table-description table.yaml has no key table"),
        ("table: {image_column: Photo}", [], "table.yaml: table.file: missing key"),
        ("table: {file: list.csv, colour: Photo}", [], "table.yaml: table.colour: 'Photo' is not allowed: extra inputs"),
        ("table: {file: list.csv, label_column: None}", [], "has no column 'None'"),
        (DESCRIPTION, ["--label-column", "Finding"], "--table-description names the columns"),
    ],
)
def test_refused_table_description(source, text, options, message):
    if text is not None:
        Path("table.yaml").write_text(text)
    result = invoke(str(source), "--dry-run", "--table-description", "table.yaml", *options)
    assert (result.exit_code, result.output.count("\n")) == (1, 1), result.output
    assert message in result.output
