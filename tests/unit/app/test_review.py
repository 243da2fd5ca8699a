import pandas as pd

from app.data import review
from components.core import spreadsheets
from components.core.reports.cross_validation import CrossValidation, Suspect
from tests.support.labels import ISIC9

COLUMNS = ["kind", "number", "rank", "path", "then", "left_out", "says", "sha256", "diagnosis"]


def test_review_page_shows_findings_of_renamed_checks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    rows = [("tiny", 0, 0.0, "nevus/a.jpg", "quarantine", "tiny", "16 x 16 px", "1" * 64, "nevus"),
            ("missing_licence", 1, 0.0, "nevus/b.jpg", "warn", "", "no licence named", "2" * 64, "nevus")]  # fmt: skip
    spreadsheets.write(pd.DataFrame(rows, columns=COLUMNS), tmp_path / "build/findings.csv")
    list(review.write_page())
    page = (tmp_path / "reports/review/index.html").read_text(encoding="utf-8")
    assert '<section id="too_small">' in page
    assert "nevus/b.jpg" not in page


def test_review_page_shows_images_whose_label_cross_validation_doubts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("build", "reports"):
        (tmp_path / folder).mkdir()
    spreadsheets.write(
        pd.DataFrame([("near_duplicate", 4, 0.0, "nevus/a.jpg", "warn", "", "two", "1" * 64, "nevus")], columns=COLUMNS),
        tmp_path / "build/findings.csv",
    )
    paths = ["nevus/b.jpg", "nevus/left_out.jpg", "nevus/relabeled.jpg"]
    catalog = pd.DataFrame({"path": paths, "usable": [True, False, True], "diagnosis": ["nevus", "nevus", "melanoma"], "sha256": "2" * 64})
    catalog.to_parquet(tmp_path / "build/catalog.parquet")
    suspects = tuple(Suspect(path, "nevus", "melanoma", 0.02) for path in paths)
    empty = {"calibration": (), "confusion": [], "folds": (), "mean": {}, "pooled": {}, "recall": {}, "subgroups": {}}
    CrossValidation(**empty, held_out_share=0.3, images=3, groups=3, label_set=ISIC9, suspects=suspects).write(
        tmp_path / "reports/cross_validation.json"
    )

    list(review.write_page())

    table = spreadsheets.read(tmp_path / "reports/review/decisions.csv")
    assert table["path"].tolist() == ["nevus/a.jpg", "nevus/b.jpg"]
    assert table["note"].tolist()[1] == "label_suspect: melanoma is named in every repeat; its own class has a mean probability of 0.020"
    assert '<section id="label_suspect">' in (tmp_path / "reports/review/index.html").read_text(encoding="utf-8")
    assert review.kinds_of(review.shown_findings()) == {"near_duplicate": 1, "label_suspect": 1}
