"""The form of the page, and the facts of a version behind it."""

import json
from pathlib import Path

import pytest

from app.server.page import form
from app.server.page.facts import read_facts
from components.core.errors import LesionflowError
from components.core.files import write_json

OUTPUTS = ("melanoma", "nevus")


def test_form_gives_pictures_impression_and_version():
    fields = {"suitable": "yes", "diagnosis": "nevus", "confidence": "sure", "version": "12"}
    found = form.read(fields, [b"a", b"", b"b"], OUTPUTS, ask_first=True)
    assert found == form.Submission((b"a", b"b"), True, form.Impression("nevus", "sure"), "12")


@pytest.mark.parametrize(
    ("fields", "contents", "says"),
    [
        ({}, [b"a"], "what kind of picture"),
        ({"suitable": "perhaps"}, [b"a"], "what kind of picture"),
        ({"suitable": "yes"}, [b""], "Add a picture"),
        ({"suitable": "yes", "diagnosis": "nevus", "confidence": "sure"}, [b"a", b"a"], "twice"),
        ({"suitable": "yes", "diagnosis": "nevus"}, [b"a"], "own impression"),
        ({"suitable": "yes", "diagnosis": "<b>", "confidence": "sure"}, [b"a"], "own impression"),
    ],
)
def test_incomplete_form_is_refused_with_a_sentence(fields, contents, says):
    with pytest.raises(LesionflowError, match=says):
        form.read(fields, contents, OUTPUTS, ask_first=True)


def test_picture_of_another_kind_needs_nothing_else():
    found = form.read({"suitable": "no"}, [], OUTPUTS, ask_first=True)
    assert not found.suitable


def test_version_field_that_is_no_number_is_passed_over():
    assert form.read({"suitable": "no", "version": "<script>"}, [], OUTPUTS, ask_first=False).opened == ""


def write_version(folder: Path, **files: object) -> Path:
    write_json(folder / "artifacts/candidate/candidate.json", {"image_size": 96, "resolution": 128})
    for name, content in files.items():
        write_json(folder / "artifacts" / name.replace("__", "/").replace("_json", ".json"), content)
    return folder


def test_facts_come_from_the_files_of_the_version(tmp_path):
    cohort = {"splits": {"test": {"attributes": {"skin_type": {"known": {"I": 3}, "unknown": 4}}}}}
    folder = write_version(tmp_path, evidence__measured_json={"data_md5": "abc"}, evidence__cohort_json=cohort)
    (folder / "MLmodel").write_text("utc_time_created: '2026-11-27 16:13:06.153742'\n", encoding="utf-8")
    found = read_facts(folder)
    assert (found.image_size, found.resolution, found.registered, found.data_md5) == (96, 128, "2026-11-27", "abc")
    assert found.skin_types is not None
    assert found.skin_types.known == {"I": 3}
    assert found.curve == ()
    assert found.card is None
    assert not found.clinical


def test_version_without_image_limits_is_made_for_clinical_photographs(tmp_path):
    novelty = {"calibration_images": 1, "lesion": 1, "max_share": 0.1, "threshold": None}
    index = {"image_limits": None, "novelty": novelty, "same_picture_distance": 0.1, "similar_cases": 16}
    assert read_facts(write_version(tmp_path, index__index_json=index)).clinical


def test_damaged_evidence_is_not_known_and_damaged_candidate_is_an_error(tmp_path):
    folder = write_version(tmp_path)
    (folder / "artifacts/evidence").mkdir()
    (folder / "artifacts/evidence/clinic.json").write_text("{", encoding="utf-8")
    (folder / "MLmodel").write_text("[", encoding="utf-8")
    assert (read_facts(folder).test_images, read_facts(folder).registered) == (None, "")
    other = tmp_path / "other"
    (other / "artifacts/candidate").mkdir(parents=True)
    (other / "artifacts/candidate/candidate.json").write_text(json.dumps({}), encoding="utf-8")
    with pytest.raises(LesionflowError, match="image_size"):
        read_facts(other)
