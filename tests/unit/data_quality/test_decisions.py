import shutil

import pandas as pd
import pytest

from app.data import review
from components.core.errors import LesionflowError
from components.data_quality import decisions
from tests.support.project import ROOT

HEADER = "path,sha256,decision,to,note\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a CSV table"),
        ("path,decision\n", "has no column 'sha256'"),
        (HEADER + "a.jpg,1,destroy,,\n", "line 2: decision must be keep, drop or relabel, found 'destroy'"),
        (
            HEADER + "b.jpg,1,,,\na.jpg,1,relabel,molee,\n",
            "line 3: relabel requires in column 'to' a diagnosis .*; found 'molee'",
        ),
        (HEADER + "a.jpg,1,relabel,,\n", "line 2: relabel requires in column 'to' a diagnosis"),
        (HEADER + "a.jpg,1,keep,,\na.jpg,1,drop,,\n", "has conflicting decisions about a.jpg"),
    ],
)
def test_load_decisions_error_names_line(tmp_path, text, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "decisions.csv").write_text(text)
    with pytest.raises(LesionflowError, match=message):
        decisions.load_decisions(tmp_path / "decisions.csv")


def test_load_decisions_skips_undecided_rows_and_folds_diagnoses_of_any_label_set(tmp_path):
    rows = "a.jpg,1,,,\nb.jpg,2, Relabel ,Basal Cell Carcinoma,\nc.jpg,3,KEEP,,\nd.jpg,4,relabel,BKL,\n"
    (tmp_path / "decisions.csv").write_text(HEADER + rows)
    table = decisions.load_decisions(tmp_path / "decisions.csv", ROOT / "labels")
    assert table[["path", "decision", "to"]].to_numpy().tolist() == [
        ["b.jpg", "relabel", "basal_cell_carcinoma"],
        ["c.jpg", "keep", ""],
        ["d.jpg", "relabel", "bkl"],
    ]


def test_decisions_of_repository_are_valid():
    assert list(decisions.load_decisions(ROOT / "decisions.csv").columns) == decisions.COLUMNS


@pytest.fixture
def project(tmp_path, monkeypatch, make_dataset):
    monkeypatch.chdir(tmp_path)
    root = make_dataset(tmp_path / "data")
    (root / "nevus/bad.jpg").write_text("<script>")
    rows = [
        ("label_conflict", 0, 13.0, "nevus/nevus_0.png", "quarantine", "label_conflict: x", "the same bytes", "1" * 64, "nevus"),
        ("label_conflict", 0, 13.0, "melanoma/melanoma_0.png", "quarantine", "", "the same bytes", "2" * 64, "melanoma"),
        ("unreadable", 1, 0.0, "nevus/bad.jpg", "quarantine", "unreadable: x", "not a <JPEG>", "3" * 64, "nevus"),
        ("missing_license", 2, 0.0, "nevus/nevus_1.png", "warn", "", "no license named", "4" * 64, "nevus"),
    ]
    columns = ["kind", "number", "rank", "path", "then", "left_out", "says", "sha256", "diagnosis"]
    (tmp_path / "build").mkdir()
    shutil.copytree(ROOT / "labels", tmp_path / "labels")
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "build/findings.csv", index=False)
    return tmp_path


def test_review_page_shows_findings_and_writes_decision_table(project):
    lines = list(review.write_page())
    page = (project / "reports/review/index.html").read_text()
    assert "2 findings about 3 files" in lines[0]
    assert page.count("data:image/jpeg;base64,") == 2
    assert "not a &lt;JPEG&gt;" in page
    assert page.index("label conflict") < page.index("not a JPEG or PNG image")
    table = pd.read_csv(project / "reports/review/decisions.csv", dtype=str, keep_default_na=False)
    assert table["path"].tolist() == ["nevus/nevus_0.png", "melanoma/melanoma_0.png", "nevus/bad.jpg"]
    assert set(table["decision"]) == {""}


def test_next_review_page_shows_merged_decisions(project):
    list(review.write_page())
    decision_table = project / "reports/review/decisions.csv"
    table = pd.read_csv(decision_table, dtype=str, keep_default_na=False)
    table.loc[0, ["decision", "to"]] = ["relabel", "Melanoma"]
    table.loc[2, "decision"] = "drop"
    table.to_csv(decision_table, index=False)
    assert next(iter(review.merge(decision_table))) == "2 decisions merged (1 relabel, 1 drop), 0 replaced"
    merged = decisions.load_decisions(project / "decisions.csv")
    assert merged[["path", "decision", "to"]].to_numpy().tolist() == [
        ["nevus/bad.jpg", "drop", ""],
        ["nevus/nevus_0.png", "relabel", "melanoma"],
    ]
    list(review.write_page())
    next_table = pd.read_csv(decision_table, dtype=str, keep_default_na=False)
    assert next_table["decision"].tolist() == ["relabel", "", "drop"]
    next_table.loc[0, ["decision", "to"]] = ["keep", ""]
    next_table.iloc[:1].to_csv(decision_table, index=False)
    assert "1 replaced" in next(iter(review.merge(decision_table)))
    assert decisions.load_decisions(project / "decisions.csv").set_index("path").loc["nevus/nevus_0.png", "decision"] == "keep"


def test_merge_rejects_table_without_decisions(project):
    list(review.write_page())
    with pytest.raises(LesionflowError, match="contains no decision"):
        list(review.merge(project / "reports/review/decisions.csv"))
