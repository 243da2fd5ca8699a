import pandas as pd

from app.data import review
from components.core import spreadsheets


def test_review_page_shows_findings_of_renamed_checks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    columns = ["kind", "number", "rank", "path", "then", "left_out", "says", "sha256", "diagnosis"]
    rows = [("tiny", 0, 0.0, "nevus/a.jpg", "quarantine", "tiny", "16 x 16 px", "1" * 64, "nevus"),
            ("missing_licence", 1, 0.0, "nevus/b.jpg", "warn", "", "no licence named", "2" * 64, "nevus")]  # fmt: skip
    spreadsheets.write(pd.DataFrame(rows, columns=columns), tmp_path / "build/findings.csv")
    list(review.write_page())
    page = (tmp_path / "reports/review/index.html").read_text(encoding="utf-8")
    assert '<section id="too_small">' in page
    assert "nevus/b.jpg" not in page
