import pytest

from app.data import diff


def entry(path, digest):
    return {"path": f"data/{path}", "hash": digest}


def test_parse_difference_separates_kinds_of_change():
    difference = diff.parse_difference(
        {
            "added": [entry("", "x"), entry("nevus/new.jpg", "1"), entry("melanoma/was_nevus.jpg", "2"), entry("nevus/again.jpg", "3")],
            "deleted": [entry("nevus/was.jpg", "2"), entry("nevus/before.jpg", "3"), entry("nevus/gone.jpg", "4")],
            "modified": [
                {"path": "data/", "hash": {"old": "a", "new": "b"}},
                {"path": "data/nevus/touched.jpg", "hash": {"old": "5", "new": "6"}},
            ],
            "renamed": [{"path": {"old": "data/nevus/x.jpg", "new": "data/dermatofibroma/x.jpg"}, "hash": "7"}],
        }
    )
    assert difference.added == ["nevus/new.jpg"]
    assert difference.removed == ["nevus/gone.jpg"]
    assert difference.changed == ["nevus/touched.jpg"]
    assert sorted(difference.relabeled) == [("nevus/was.jpg", "melanoma/was_nevus.jpg"), ("nevus/x.jpg", "dermatofibroma/x.jpg")]
    assert difference.renamed == [("nevus/before.jpg", "nevus/again.jpg")]


def test_parse_difference_pairs_rename_within_class():
    removed = [entry("melanoma/a.jpg", "1"), entry("nevus/a.jpg", "1")]
    difference = diff.parse_difference({"added": [entry("nevus/b.jpg", "1")], "deleted": removed})
    assert difference.renamed == [("nevus/a.jpg", "nevus/b.jpg")]
    assert difference.removed == ["melanoma/a.jpg"]


@pytest.mark.parametrize("document", ["{}", "", '{"added": [], "deleted": [], "modified": [], "renamed": []}'])
def test_compare_reports_equal_versions(monkeypatch, document):
    monkeypatch.setattr(diff, "dvc", lambda *_: document)
    assert list(diff.compare("v1", "v2")) == ["v1 and v2 contain the same files"]


def test_compare_counts_per_class_and_lists_first_files(monkeypatch):
    added = [entry(f"nevus/{number:02}.jpg", str(number)) for number in range(12)]
    monkeypatch.setattr(diff, "dvc", lambda *_: __import__("json").dumps({"added": added}))
    lines = list(diff.compare("v1", None))
    assert lines[0] == "from v1 to data/: 12 added, 0 removed, 0 relabeled, 0 changed, 0 renamed"
    assert lines[2].split() == ["nevus", "12", "0", "0", "0"]
    assert lines[-2:] == ["  nevus/09.jpg", "  and 2 more"]
