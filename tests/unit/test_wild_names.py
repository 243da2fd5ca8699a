"""File names, ids, collections and reasons as they come from outside, through import, the stages and what people read."""

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

from app.data import diff, ingest, review
from app.data.archives import Member, _name_problem
from app.models import champion, predict
from components import split, validate
from components.augmentation import views
from components.core import catalog, plotting
from components.core.classes import CLASSES
from components.core.reports.champion import Overview
from components.core.reports.evaluation import Estimate
from components.core.reports.registration import Promotion, Rule
from components.data_quality import dataset, decisions, expectations, policy
from components.data_quality.findings import Finding
from components.evaluation import plots, report
from components.evaluation.predictions import Predictions
from components.imaging import tfrecords
from components.imaging.model_input import ModelInput
from components.imaging.tfrecords import ShardWriter, View
from components.registry import model_card, promotion_record
from components.runtime.params_file import load
from flows import artifacts
from tests.support import documents, wild
from tests.support.html import tags_of
from tests.support.images import noise
from tests.support.project import ROOT
from tests.support.validation import audit_folder

SETTINGS = load(ROOT / "params.yaml")
PATHS = [f"{CLASSES[number % 5]}/{name}.png" for number, name in enumerate(wild.EXAMPLES)]


@wild.FEW
@given(st.lists(wild.names(), min_size=1, max_size=4, unique_by=ingest._folded))
def test_import_keeps_names_as_they_are(names):
    members = [Member(f"Nevus/{name}.jpg", 1) for name in names]
    assert [_name_problem(member.name) for member in members] == [""] * len(members)
    targets, left = ingest.plan_import(members)
    visible = [name for name in names if not name.startswith(".")]
    assert [targets[f"Nevus/{name}.jpg"] for name in visible] == [f"nevus/{name}.jpg" for name in visible]
    assert len(left) == len(names) - len(visible)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A dataset whose every file has a wild name."""
    folder = tmp_path_factory.mktemp("wild [x] $^$ #1") / "data"
    for number, path in enumerate(PATHS):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        noise(number, 40).save(folder / path)
    return folder


def test_validation_split_and_views_keep_every_name(root, settings):
    limits = settings.validation.model_copy(update={"min_images_per_class": 2})
    frame, _, listed = audit_folder(root, limits)
    assert sorted(frame.index) == sorted(PATHS)
    assert frame["usable"].all()
    assert frame["group"].is_unique
    assert frame["isic_id"].str.fullmatch(r"\S(?:.*\S)?").all()
    usable = frame.reset_index()
    usable["side"] = split.assign_splits(usable["diagnosis"], np.arange(len(usable)), 0.2, 0.2, 0)
    usable.to_parquet(root.parent / "splits.parquet", index=False)
    assert catalog.load_splits(root.parent / "splits.parquet")["path"].tolist() == usable["path"].tolist()
    assert set(listed["path"]) == set(PATHS)

    planned = views.plan_views(usable, dict.fromkeys(CLASSES, 1), 0)
    shards = root.parent / "shards"
    with ShardWriter(shards / "train", len(planned), 32, seed=0) as writer:
        for image in planned:
            for view in views.ViewRenderer(root, ModelInput(32, None), settings.augment, 0).augmented_views(image):
                writer.write(view)
    read = [path for batch in tfrecords.iter_batches("train", shards) for path in tfrecords.paths_of(batch)]
    assert sorted(read) == sorted(PATHS)


def test_a_name_that_is_not_utf_8_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "nevus").mkdir()
    (tmp_path / "nevus" / "a\udcff.jpg").touch()
    with pytest.raises(validate.LesionflowError, match=r"is not UTF-8\. Rename the file"):
        dataset.list_files(tmp_path)


@wild.FEW
@given(st.lists(st.tuples(wild.texts(), wild.texts(), wild.texts()), min_size=2, max_size=2))
def test_ids_of_metadata_come_in_one_line_and_equal_ones_stay_equal(rows):
    files = pd.DataFrame({"path": ["nevus/a.jpg", "nevus/b.jpg", "nevus/ .jpg"]})
    table = pd.DataFrame(rows, columns=["isic_id", "lesion_id", "collection"], index=["nevus/a.jpg", "nevus/b.jpg"])
    frame = dataset.add_labels(files, table.rename_axis("filename"))
    for column in ("isic_id", "lesion_id"):
        assert all(value and value == " ".join(value.split()) for value in frame[column])
        assert not frame[column].isin([""]).any()
    assert frame["isic_id"].iloc[2] == frame["lesion_id"].iloc[2] == "nevus/ .jpg"
    same = dataset.add_labels(files, table.assign(lesion_id=rows[0][1]).rename_axis("filename"))
    if same["lesion_named"].iloc[0]:
        assert same["lesion_id"].iloc[0] == same["lesion_id"].iloc[1]


@wild.FEW
@given(st.lists(wild.names(controls=True), min_size=2, max_size=4, unique=True), wild.texts())
def test_decisions_about_any_file_are_read_back_and_found_again(tmp_path_factory, names, note):
    path = tmp_path_factory.mktemp("decisions") / "decisions.csv"
    files = pd.DataFrame({"path": [f"{name}.jpg" for name in names], "sha256": [str(number) for number in range(len(names))]})
    review.spreadsheets.write(files.assign(decision="keep", to="", note=note)[decisions.COLUMNS], path)
    read = decisions.load_decisions(path)
    assert read["note"].tolist() == [note] * len(names)
    assert decisions.match_decisions(read, files).keep == frozenset(files["path"])
    assert decisions.match_decisions(read, files).stale == ()


@wild.FEW
@given(wild.names(controls=True), wild.texts())
def test_what_stops_a_stage_names_each_file_in_one_line(name, why):
    found = [Finding("unreadable", (f"nevus/{name}.jpg",), why)]
    lines = policy.policy_violations(found, SETTINGS.validation.policy)
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def test_the_review_page_shows_any_name_and_its_table_gives_it_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    rows = [
        ("label_conflict", number, 1.0, path, "quarantine", f"x: {path}", f"lesion {path}", "1" * 64, "nevus")
        for number, path in enumerate([*PATHS, f"=cmd/{wild.HOSTILE}.jpg"])
    ]
    columns = ["kind", "number", "rank", "path", "then", "left_out", "says", "sha256", "diagnosis"]
    validate.spreadsheets.write(pd.DataFrame(rows, columns=columns), tmp_path / "build/findings.csv")
    list(review.write_page())
    page = (tmp_path / "reports/review/index.html").read_text(encoding="utf-8")
    assert set(tags_of(page)) <= {"html", "head", "body", "meta", "title", "style", "h1", "h2", "p", "nav", "a", "section", "article",
                                  "div", "figure", "figcaption", "b", "br", "span"}  # fmt: skip
    filled = tmp_path / "reports/review/decisions.csv"
    assert "'=cmd/" in filled.read_text(encoding="utf-8")
    table = validate.spreadsheets.read(filled)
    assert table["path"].tolist() == [row[3] for row in rows]
    validate.spreadsheets.write(table.assign(decision="drop"), filled)
    list(review.merge(filled))
    assert set(decisions.load_decisions(tmp_path / "decisions.csv")["path"]) == {row[3] for row in rows}


def test_data_docs_show_values_of_metadata_and_run_none(tmp_path, make_dataset, settings):
    limits = settings.validation.model_copy(update={"min_images_per_class": 2})
    frame, _, _ = audit_folder(make_dataset(tmp_path / "data"), limits)
    frame = frame.reset_index()
    values = [wild.HOSTILE, "$^$ $column ${x}", "{{7*7}}", "a & b < c", "'\"><script>alert(1)</script>"]
    frame.loc[frame.index[:5], "isic_id"] = [f" {value}" for value in values]  # a space in front breaks an expectation
    frame.loc[frame.index[:5], "collection"] = values
    frame.loc[frame.index[5:10], "path"] = frame["path"].iloc[0] = f"nevus/{wild.HOSTILE}.png"
    classes = validate.count_classes(frame, "multiclass")
    unmet = "\n".join(expectations.check_catalog(expectations.AuditedCatalog(frame, classes, {}), limits, tmp_path / "docs"))
    assert repr(f" {wild.HOSTILE}") in unmet
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "docs").rglob("*.html")]
    assert len(pages) > 2
    for page in pages:
        assert wild.HOSTILE not in page
        assert "<script>alert" not in page
        assert "onerror" not in tags_of(page)
    shown = "\n".join(pages)
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown
    assert "a &amp; b &lt; c" in shown
    assert "&amp;lt;" not in shown
    assert "{{7*7}}" in shown


@pytest.mark.filterwarnings("ignore:Glyph")
@settings(deadline=None, max_examples=5)
@given(st.lists(wild.names(controls=True), min_size=1, max_size=3))
def test_pictures_are_drawn_whatever_names_stand_on_them(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("figures")
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    plots.gallery([picture] * len(names), [f"nevus\n50%  {plotting.shorten_name(name)}" for name in names], len(names), folder / "a.png")
    plots.drops({f"without {name}": Estimate(0.1, 0.0, 0.2) for name in names}, folder / "b.png")
    for path in folder.iterdir():
        assert max(Image.open(path).size) < 2000


def test_mistakes_are_drawn_with_the_pictures_they_are_about(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [f"nevus/{name}.png" for name in wild.EXAMPLES[:9]]
    with ShardWriter(tmp_path / "build/shards/test", len(paths), 16, seed=0) as writer:
        for number, path in enumerate(paths):
            writer.write(View(tfrecords.as_png(np.asarray(noise(number, 16))), "nevus", path, 0))
    drawn = {}
    monkeypatch.setattr(plots, "gallery", lambda pictures, captions, *_: drawn.update(zip(captions, pictures, strict=True)))
    images = pd.DataFrame({"path": paths, "diagnosis": "nevus"})
    report.draw_mistakes(Predictions(images, np.eye(9)[[0] * len(paths)], "multiclass"), 9, tmp_path / "m.png")
    assert len(drawn) == len(paths)
    for number, path in enumerate(paths):
        [caption] = [one for one in drawn if one.endswith(f"  {plotting.shorten_name(Path(path).stem)}".replace("_", " "))]
        assert np.array_equal(drawn[caption], np.asarray(noise(number, 16)))


WHEN = "2026-01-01T00:00:00+00:00"
ENTRY = Promotion("m", None, "1", "override", "", "failed: x", WHEN, "me", "0")


def unwrapped(table: str) -> str:
    """The letters of a printed table, cells that are folded joined again."""
    return "".join(letter for letter in table if not letter.isspace() and letter not in "┃│━─┏┓┗┛╇╈┼├┤╋┡┩└┘╂┠┨╀╁")


@wild.FEW
@given(wild.texts())
def test_the_history_of_champions_prints_any_reason_whole(reason):
    with mock.patch.dict(os.environ, COLUMNS="2000"):  # in a narrow table a reason goes on in the next line, inside a word too
        printed = champion.history_table("model", [replace(ENTRY, reason=reason)])
    if "[/wiki/42]" in reason:
        assert "[/wiki/42]" in printed
    assert "\x1b" not in printed
    promotion_record.markdown([replace(ENTRY, reason=reason)])


@pytest.mark.parametrize("reason", ["see [/wiki/42]", "[bold]x[/bold]", ":smile:", "[left]", "a\x1b[31mb"])
def test_the_history_of_champions_prints_markup_as_it_was_written(monkeypatch, reason):
    monkeypatch.setenv("COLUMNS", "300")
    assert reason.replace("\x1b", "\\x1b") in champion.history_table("model", [replace(ENTRY, reason=reason)])


@wild.FEW
@given(st.lists(wild.names(controls=True), min_size=2, max_size=3, unique=True))
def test_predictions_name_each_image_as_it_is_called(names):
    paths = [f"{name}.jpg" for name in names]
    table = pd.DataFrame({"image": paths, "diagnosis": "nevus", "nevus": 0.75, "melanoma": 0.25})
    result = predict.PredictionResult("model", "1", table, {}, [])
    assert [row["image"] for row in json.loads(predict.as_json(result))] == paths
    assert predict.as_table(result).count("0.750") == len(paths)


def test_images_that_differ_in_brackets_alone_are_told_apart(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    table = pd.DataFrame({"image": ["lesion[left].jpg", "lesion[right].jpg"], "diagnosis": "nevus", "nevus": 1.0})
    printed = predict.as_table(predict.PredictionResult("model", "1", table, {}, []))
    assert "lesion[left].jpg" in printed
    assert "lesion[right].jpg" in printed


@wild.FEW
@given(wild.texts())
def test_what_people_read_in_mlflow_and_prefect_holds_no_markup_from_outside(text):
    tags = {"gate": "failed", "judged.at": WHEN, "gate.collections": f"failed: {text}"}
    evaluation, registration = documents.evaluation(), documents.registration(gate_passed=False, gate=(Rule("c", False, text),))
    nobody = Overview(model="m", champion=None, challenger=None, noticed=None)
    for shown in (model_card.version_description(tags), artifacts.summary(evaluation, registration, nobody)):
        assert tags_of(shown) == []
    assert "\n| **fail** | c | " in artifacts.summary(evaluation, registration, nobody)


@wild.FEW
@given(st.lists(wild.names(controls=True), min_size=1, max_size=3, unique=True))
def test_differences_of_datasets_name_any_file(names):
    added = [{"path": f"data/nevus/{name}.jpg", "hash": str(number)} for number, name in enumerate(names)]
    assert diff.parse_difference({"added": added}).added == sorted(f"nevus/{name}.jpg" for name in names)
