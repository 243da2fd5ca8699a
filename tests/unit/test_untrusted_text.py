"""Import and the stages keep untrusted names, ids, collections and reasons unchanged, and all outputs show them literally."""

import json
import os
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.data import diff, review
from app.data.archives import Member, _name_problem
from app.data.members import sort_members
from app.data.targets import assign_targets, fold_path
from app.models import champion, prediction_tables
from app.models.prediction_rows import Row, RowForm
from components import validate
from components.augmentation import views
from components.core import catalog, plotting, spreadsheets
from components.core.reports.champion import Overview
from components.core.reports.evaluation import Estimate
from components.core.reports.registration import Promotion, Rule
from components.data_quality import dataset, decisions, expectations, policy, small_classes
from components.data_quality.findings import Finding
from components.evaluation import plots, report
from components.evaluation.predictions import Predictions
from components.imaging import tfrecords
from components.imaging.model_input import ModelInput
from components.imaging.tfrecords import ShardWriter, View
from components.registry import model_card, promotion_record
from components.runtime.params_file import load
from components.serving.answers import Contract, answer
from components.splitting.folds import assign_splits
from flows import artifacts
from tests.support import documents, untrusted_text
from tests.support.html import tags_of
from tests.support.images import noise
from tests.support.labels import CLASSES, ISIC9, ISIC9_DEFINITION
from tests.support.project import ROOT
from tests.support.validation import audit_folder

SETTINGS = load(ROOT / "params.yaml")
PATHS = [f"{CLASSES[number % 5]}/{name}.png" for number, name in enumerate(untrusted_text.EXAMPLES)]


@untrusted_text.FEW_EXAMPLES
@given(st.lists(untrusted_text.file_names(), min_size=1, max_size=4, unique_by=fold_path))
def test_import_keeps_names(names):
    members = [Member(f"Nevus/{name}.jpg", 1) for name in names]
    assert [_name_problem(member.name) for member in members] == [""] * len(members)
    found = sort_members(member.name for member in members)
    targets = assign_targets(dict.fromkeys(found.images, "nevus"), ())
    visible = [name for name in names if not name.startswith(".")]
    assert [targets[f"Nevus/{name}.jpg"] for name in visible] == [f"nevus/{name}.jpg" for name in visible]
    assert sum(map(len, found.left_out.values())) == len(names) - len(visible)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A dataset in which every file name contains untrusted text."""
    folder = tmp_path_factory.mktemp("untrusted [x] $^$ #1") / "data"
    for number, path in enumerate(PATHS):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        noise(number, 40).save(folder / path)
    return folder


def test_validation_split_and_views_keep_names(root, settings):
    limits = settings.validation.model_copy(update={"min_images_per_class": 2})
    frame, _, findings_table = audit_folder(root, limits)
    assert sorted(frame.index) == sorted(PATHS)
    assert frame["usable"].all()
    assert frame["group"].is_unique
    assert frame["isic_id"].str.fullmatch(r"\S(?:.*\S)?").all()
    usable = frame.reset_index()
    usable["side"] = assign_splits(usable["diagnosis"], np.arange(len(usable)), 0.2, 0.2, 0)
    usable.to_parquet(root.parent / "splits.parquet", index=False)
    assert catalog.load_splits(root.parent / "splits.parquet")["path"].tolist() == usable["path"].tolist()
    assert set(findings_table["path"]) == set(PATHS)

    view_plans = views.plan_views(usable, dict.fromkeys(CLASSES, 1), 0)
    shards = root.parent / "shards"
    with ShardWriter(shards / "train", CLASSES, len(view_plans), 32, seed=0) as writer:
        for view_plan in view_plans:
            for view in views.ViewRenderer(root, ModelInput(32, None), settings.augment, 0).augmented_views(view_plan):
                writer.write(view)
    read_paths = [path for batch in tfrecords.iter_batches("train", shards) for path in tfrecords.paths_of(batch)]
    assert sorted(read_paths) == sorted(PATHS)


def test_list_files_rejects_name_that_is_not_utf8(tmp_path):
    (tmp_path / "nevus").mkdir()
    (tmp_path / "nevus" / "a\udcff.jpg").touch()
    with pytest.raises(validate.LesionflowError, match=r"is not UTF-8\. Rename the file"):
        dataset.list_files(tmp_path)


@untrusted_text.FEW_EXAMPLES
@given(st.lists(st.tuples(untrusted_text.texts(), untrusted_text.texts(), untrusted_text.texts()), min_size=2, max_size=2))
def test_metadata_ids_become_single_line_and_stay_equal(rows):
    files = pd.DataFrame({"path": ["nevus/a.jpg", "nevus/b.jpg", "nevus/ .jpg"]})
    table = pd.DataFrame(rows, columns=["isic_id", "lesion_id", "collection"], index=["nevus/a.jpg", "nevus/b.jpg"])
    frame = dataset.add_labels(files, table.rename_axis("filename"), ISIC9_DEFINITION)
    for column in ("isic_id", "lesion_id"):
        assert all(value and value == " ".join(value.split()) for value in frame[column])
        assert not frame[column].isin([""]).any()
    assert frame["isic_id"].iloc[2] == frame["lesion_id"].iloc[2] == "nevus/ .jpg"
    same_lesion = dataset.add_labels(files, table.assign(lesion_id=rows[0][1]).rename_axis("filename"), ISIC9_DEFINITION)
    if isinstance(same_lesion["named_lesion"].iloc[0], str):
        assert same_lesion["lesion_id"].iloc[0] == same_lesion["lesion_id"].iloc[1]


@untrusted_text.FEW_EXAMPLES
@given(st.lists(untrusted_text.file_names(controls=True), min_size=2, max_size=4, unique=True), untrusted_text.texts())
def test_decisions_round_trip_for_any_file_name(tmp_path_factory, names, note):
    path = tmp_path_factory.mktemp("decisions") / "decisions.csv"
    files = pd.DataFrame({"path": [f"{name}.jpg" for name in names], "sha256": [str(number) for number in range(len(names))]})
    review.spreadsheets.write(files.assign(decision="keep", to="", note=note)[decisions.COLUMNS], path)
    table = decisions.load_decisions(path)
    assert table["note"].tolist() == [note] * len(names)
    assert decisions.match_decisions(table, files).keep == frozenset(files["path"])
    assert decisions.match_decisions(table, files).stale == ()


@untrusted_text.FEW_EXAMPLES
@given(untrusted_text.file_names(controls=True), untrusted_text.texts())
def test_policy_violations_name_each_file_in_one_line(name, message):
    problems = [Finding("unreadable", (f"nevus/{name}.jpg",), message)]
    lines = policy.policy_violations(problems, SETTINGS.validation.policy)
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_review_page_and_decisions_keep_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    rows = [
        ("label_conflict", number, 1.0, path, "quarantine", f"x: {path}", f"lesion {path}", "1" * 64, "nevus")
        for number, path in enumerate([*PATHS, f"=cmd/{untrusted_text.HTML_INJECTION}.jpg"])
    ]
    columns = ["kind", "number", "rank", "path", "then", "left_out", "says", "sha256", "diagnosis"]
    validate.spreadsheets.write(pd.DataFrame(rows, columns=columns), tmp_path / "build/findings.csv")
    list(review.write_page())
    page = (tmp_path / "reports/review/index.html").read_text(encoding="utf-8")
    assert set(tags_of(page)) <= {"html", "head", "body", "meta", "title", "style", "h1", "h2", "p", "nav", "a", "section", "article",
                                  "div", "figure", "figcaption", "b", "br", "span", "button", "select", "option", "script",
                                  "main"}  # fmt: skip
    decision_table = tmp_path / "reports/review/decisions.csv"
    assert "'=cmd/" in decision_table.read_text(encoding="utf-8")
    table = validate.spreadsheets.read(decision_table)
    assert table["path"].tolist() == [row[3] for row in rows]
    validate.spreadsheets.write(table.assign(decision="drop"), decision_table)
    list(review.merge(decision_table))
    assert set(decisions.load_decisions(tmp_path / "decisions.csv")["path"]) == {row[3] for row in rows}


def test_data_docs_escape_metadata_values(tmp_path, make_dataset, settings):
    limits = settings.validation.model_copy(update={"min_images_per_class": 2})
    frame, _, _ = audit_folder(make_dataset(tmp_path / "data"), limits)
    frame = frame.reset_index()
    values = [untrusted_text.HTML_INJECTION, "$^$ $column ${x}", "{{7*7}}", "a & b < c", "'\"><script>alert(1)</script>"]
    frame.loc[frame.index[:5], "isic_id"] = [f" {value}" for value in values]  # a leading space violates an expectation
    frame.loc[frame.index[:5], "collection"] = values
    frame.loc[frame.index[5:10], "path"] = f"nevus/{untrusted_text.HTML_INJECTION}.png"
    classes = small_classes.count_classes(frame, ISIC9_DEFINITION)
    unmet = "\n".join(expectations.check_catalog(expectations.AuditedCatalog(frame, classes, {}), limits, tmp_path / "docs"))
    assert repr(f" {untrusted_text.HTML_INJECTION}") in unmet
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "docs").rglob("*.html")]
    assert len(pages) > 2
    for page in pages:
        assert untrusted_text.HTML_INJECTION not in page
        assert "<script>alert" not in page
        assert "onerror" not in tags_of(page)
    all_pages = "\n".join(pages)
    assert "&lt;img src=x onerror=alert(1)&gt;" in all_pages
    assert "a &amp; b &lt; c" in all_pages
    assert "&amp;lt;" not in all_pages
    assert "{{7*7}}" in all_pages


@pytest.mark.filterwarnings("ignore:Glyph")
@settings(deadline=None, max_examples=5)
@given(st.lists(untrusted_text.file_names(controls=True), min_size=1, max_size=3))
def test_plots_are_drawn_with_any_name(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("plots")
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    plots.gallery([image] * len(names), [f"nevus\n50%  {plotting.shorten_name(name)}" for name in names], len(names), folder / "a.png")
    plots.drops({f"without {name}": Estimate(0.1, 0.0, 0.2) for name in names}, folder / "b.png")
    for path in folder.iterdir():
        assert max(Image.open(path).size) < 2000


def test_draw_mistakes_pairs_images_with_captions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [f"nevus/{name}.png" for name in untrusted_text.EXAMPLES[:9]]
    with ShardWriter(tmp_path / "build/shards/test", CLASSES, len(paths), 16, seed=0) as writer:
        for number, path in enumerate(paths):
            writer.write(View(tfrecords.as_png(np.asarray(noise(number, 16))), "nevus", path, 0))
    image_of_caption = {}
    monkeypatch.setattr(plots, "gallery", lambda images, captions, *_: image_of_caption.update(zip(captions, images, strict=True)))
    table = pd.DataFrame({"path": paths, "diagnosis": "nevus"})
    report.draw_mistakes(Predictions(table, np.eye(9)[[0] * len(paths)], ISIC9), 9, tmp_path / "m.png")
    assert len(image_of_caption) == len(paths)
    for number, path in enumerate(paths):
        suffix = f"  {plotting.shorten_name(Path(path).stem)}".replace("_", " ")
        [caption] = [text for text in image_of_caption if text.endswith(suffix)]
        assert np.array_equal(image_of_caption[caption], np.asarray(noise(number, 16)))


TIMESTAMP = "2026-01-01T00:00:00+00:00"
PROMOTION = Promotion("m", None, "1", "override", "", "failed: x", TIMESTAMP, "me", "0")


@untrusted_text.FEW_EXAMPLES
@given(untrusted_text.texts())
def test_history_table_prints_any_reason(reason):
    with mock.patch.dict(os.environ, COLUMNS="2000"):  # a narrow table wraps a reason, even within a word
        table = champion.history_table("model", [replace(PROMOTION, reason=reason)])
    if "[/wiki/42]" in reason:
        assert "[/wiki/42]" in table
    assert "\x1b" not in table
    promotion_record.markdown([replace(PROMOTION, reason=reason)])


@pytest.mark.parametrize("reason", ["see [/wiki/42]", "[bold]x[/bold]", ":smile:", "[left]", "a\x1b[31mb"])
def test_history_table_prints_markup_literally(monkeypatch, reason):
    monkeypatch.setenv("COLUMNS", "300")
    assert reason.replace("\x1b", "\\x1b") in champion.history_table("model", [replace(PROMOTION, reason=reason)])


@untrusted_text.FEW_EXAMPLES
@given(st.lists(untrusted_text.file_names(controls=True), min_size=2, max_size=3, unique=True))
def test_predictions_name_each_image(names):
    form = RowForm("model", "1", Contract(outputs=("nevus", "melanoma")))
    rows = [Row(f"{name}.jpg", answer(form.contract, "nevus", {"nevus": 0.75, "melanoma": 0.25})) for name in names]
    assert [json.loads(form.as_json_line(row))["image"] for row in rows] == [row.image for row in rows]
    assert [spreadsheets.row_cells(form.as_csv_line(row))[0] for row in rows] == [row.image for row in rows]
    for row in rows:
        line = prediction_tables.image_line(row)
        assert (line.count("\n"), line.count("0.750")) == (1, 1)
        assert "\x1b" not in line + prediction_tables.details(row, form)


def test_predictions_distinguish_names_that_differ_in_brackets(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    form, found = RowForm("model", "1", Contract()), answer(Contract(), "nevus", {"nevus": 1.0})
    for name in ("lesion[left].jpg", "lesion[right].jpg", "lesion[bold].jpg"):
        assert name in prediction_tables.image_line(Row(name, found))
        assert name in prediction_tables.details(Row(name, found), form)


@untrusted_text.FEW_EXAMPLES
@given(untrusted_text.texts())
def test_markdown_for_mlflow_and_prefect_contains_no_injected_tags(text):
    tags = {"gate": "failed", "judged.at": TIMESTAMP, "gate.collections": f"failed: {text}"}
    evaluation, registration = documents.evaluation(), documents.registration(gate_passed=False, gate=(Rule("c", False, text),))
    overview = Overview(model="m", champion=None, challenger=None, noticed=None)
    for markdown in (model_card.version_description(tags), artifacts.summary(evaluation, registration, overview)):
        assert tags_of(markdown) == []
    assert "\n| **fail** | c | " in artifacts.summary(evaluation, registration, overview)


@untrusted_text.FEW_EXAMPLES
@given(st.lists(untrusted_text.file_names(controls=True), min_size=1, max_size=3, unique=True))
def test_parse_difference_accepts_any_name(names):
    added = [{"path": f"data/nevus/{name}.jpg", "hash": str(number)} for number, name in enumerate(names)]
    assert diff.parse_difference({"added": added}).added == sorted(f"nevus/{name}.jpg" for name in names)
