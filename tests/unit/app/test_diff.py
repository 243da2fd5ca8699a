import pytest

from app.data import diff


def entry(path, digest):
    return {"path": f"data/{path}", "hash": digest}


def test_files_are_added_removed_changed_relabelled_and_renamed():
    apart = diff.parse_difference(
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
    assert apart.added == ["nevus/new.jpg"]
    assert apart.removed == ["nevus/gone.jpg"]
    assert apart.changed == ["nevus/touched.jpg"]
    assert sorted(apart.relabelled) == [("nevus/was.jpg", "melanoma/was_nevus.jpg"), ("nevus/x.jpg", "dermatofibroma/x.jpg")]
    assert apart.renamed == [("nevus/before.jpg", "nevus/again.jpg")]


def test_a_copy_under_the_same_class_is_the_one_that_was_renamed():
    removed = [entry("melanoma/a.jpg", "1"), entry("nevus/a.jpg", "1")]
    apart = diff.parse_difference({"added": [entry("nevus/b.jpg", "1")], "deleted": removed})
    assert apart.renamed == [("nevus/a.jpg", "nevus/b.jpg")]
    assert apart.removed == ["melanoma/a.jpg"]


@pytest.mark.parametrize("document", ["{}", "", '{"added": [], "deleted": [], "modified": [], "renamed": []}'])
def test_equal_versions_are_said_to_be_equal(monkeypatch, document):
    monkeypatch.setattr(diff, "dvc", lambda *_: document)
    assert list(diff.compare("v1", "v2")) == ["v1 and v2 contain the same files"]


def test_the_lines_count_per_class_and_name_the_first_files(monkeypatch):
    added = [entry(f"nevus/{number:02}.jpg", str(number)) for number in range(12)]
    monkeypatch.setattr(diff, "dvc", lambda *_: __import__("json").dumps({"added": added}))
    lines = list(diff.compare("v1", None))
    assert lines[0] == "from v1 to data/: 12 added, 0 removed, 0 relabelled, 0 changed, 0 renamed"
    assert lines[2].split() == ["nevus", "12", "0", "0", "0"]
    assert lines[-2:] == ["  nevus/09.jpg", "  and 2 more"]
