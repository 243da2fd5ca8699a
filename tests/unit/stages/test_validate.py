import io
import shutil
import zipfile
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from app.data import ingest
from app.data.content import content_of
from app.data.plan import make_plan
from components import validate
from components.core.catalog import COLUMNS
from components.core.errors import LesionflowError
from components.data_quality import dataset, decisions, small_classes
from components.data_quality.label_definitions import read_definition, read_definitions
from components.data_quality.policy import count_findings, policy_violations
from components.data_quality.scan import scan
from components.runtime.validation_params import Validate
from tests.support.images import encoded, noise, png_header, textured
from tests.support.labels import CLASSES, ISIC9_DEFINITION
from tests.support.project import ROOT
from tests.support.validation import audit_folder

KAGGLE = ROOT.parent / "shared/data/kaggle9_raw.zip"


@pytest.fixture
def limits(settings) -> Validate:
    """The limits of the repository, but for datasets of a few images."""
    return settings.validation.model_copy(update={"min_images_per_class": 2})


@pytest.fixture
def root(tmp_path, make_dataset):
    return make_dataset(tmp_path / "data")


def kinds_of(findings, path):
    return {finding.kind for finding in findings if path in finding.subjects}


def decision_table(*rows):
    return pd.DataFrame(rows, columns=decisions.COLUMNS)


def test_all_images_of_clean_dataset_are_usable(root, limits):
    frame, findings, _ = audit_folder(root, limits)
    assert frame["usable"].all()
    assert sorted(frame["diagnosis"].unique()) == sorted(CLASSES)
    assert list(frame.reset_index().columns) == list(COLUMNS)
    assert set(count_findings(findings)) == {"missing_license"}


def animated() -> bytes:
    stream = io.BytesIO()
    noise(91).save(stream, "PNG", save_all=True, append_images=[noise(2), noise(3)])
    return stream.getvalue()


def with_orientation(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, exif=exif)


BAD_FILES = {
    "empty": (b"", "unreadable: empty file"),
    "text": (b"text named jpg", "unreadable: not a JPEG or PNG image"),
    "html": (b"<html><body>404</body></html>", "unreadable: not a JPEG or PNG image"),
    "truncated jpeg": (encoded(noise(91))[:-200], "unreadable: truncated or corrupt"),
    "jpeg header alone": (encoded(noise(91))[:30], "unreadable: "),
    "truncated png": (encoded(noise(91), "PNG")[:-500], "unreadable: truncated or corrupt"),
    "png without pixels": (png_header(64, 64), "unreadable: truncated or corrupt"),
    "bomb of 900 million pixels": (png_header(30_000, 30_000), "unreadable: "),
    "bomb of 10 billion pixels": (png_header(100_000, 100_000), "unreadable: "),
    "gif": (encoded(noise(91), "GIF"), "unreadable: not a JPEG or PNG image"),
    "webp": (encoded(noise(91), "WEBP"), "unreadable: not a JPEG or PNG image"),
    "tiff": (encoded(noise(91), "TIFF"), "unreadable: not a JPEG or PNG image"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unreadable: not a JPEG or PNG image"),
    "zip": (b"PK\x05\x06" + bytes(18), "unreadable: not a JPEG or PNG image"),
    "bytes of noise": (np.random.default_rng(0).bytes(5000), "unreadable: not a JPEG or PNG image"),
    "too small": (encoded(noise(91, 16)), "too_small: 16 x 16 px is smaller than 32 px"),
    "one pixel": (encoded(noise(91, 1)), "too_small: 1 x 1 px"),
    "a strip": (encoded(textured(1, 600, 40)), "odd_aspect_ratio: 600 x 40 px is more than 4 times"),
    "blank white": (encoded(Image.new("RGB", (80, 80), "white")), "low_information: "),
    "blank black": (encoded(Image.new("RGB", (80, 80))), "low_information: "),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_left_out_with_reason_and_not_modified(root, limits, name):
    content, expected_reason = BAD_FILES[name]
    (root / "nevus" / "bad.jpg").write_bytes(content)
    frame, findings, _ = audit_folder(root, limits)
    reason = frame.at["nevus/bad.jpg", "reason"]
    assert reason.startswith(expected_reason)
    assert "\n" not in reason
    assert frame["usable"].sum() == len(frame) - 1
    assert any(f"nevus/bad.jpg: {reason.partition(': ')[2]}" in line for line in policy_violations(findings, limits.policy))
    assert (root / "nevus" / "bad.jpg").read_bytes() == content


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (encoded(textured(1).convert("L")), "not_rgb"),
        (encoded(textured(1).convert("CMYK")), "not_rgb"),
        (encoded(textured(1).convert("P"), "PNG"), "not_rgb"),
        (encoded(textured(1).convert("RGBA"), "PNG"), "not_rgb"),
        (encoded(textured(1).convert("L")), "not_dermoscopic"),
        (with_orientation(textured(1), 6), "exif_rotated"),
        (animated(), "missing_license"),
    ],
    ids=["gray", "cmyk", "palette", "alpha", "black and white", "rotated", "animated"],
)
def test_odd_image_is_reported_and_used(root, limits, content, kind):
    (root / "nevus" / "odd.jpg").write_bytes(content)
    frame, findings, _ = audit_folder(root, limits)
    assert kind in kinds_of(findings, "nevus/odd.jpg")
    assert frame.at["nevus/odd.jpg", "usable"]


def test_screenshot_is_reported_as_not_dermoscopic(root, limits):
    image = Image.new("RGB", (200, 150), (250, 250, 250))
    image.paste(noise(1, 60), (10, 10))
    image.save(root / "nevus" / "screen.png")
    _, findings, _ = audit_folder(root, limits)
    assert "not_dermoscopic" in kinds_of(findings, "nevus/screen.png")


def test_first_of_two_equal_images_is_kept(root, limits):
    shutil.copy(root / "nevus" / "nevus_0.png", root / "nevus" / "nevus_0 (1).png")
    Image.open(root / "nevus" / "nevus_1.png").save(root / "nevus" / "nevus_1 again.png", compress_level=0)
    frame, _, _ = audit_folder(root, limits)
    assert frame.loc[~frame["usable"], "reason"].to_dict() == {
        "nevus/nevus_0.png": "exact_duplicate: the same bytes as nevus/nevus_0 (1).png",
        "nevus/nevus_1.png": "exact_duplicate: the same pixels as nevus/nevus_1 again.png",
    }


def test_near_duplicates_are_used_and_share_group(root, limits):
    image = textured(5)
    image.save(root / "nevus" / "a.jpg", quality=95)
    image.transpose(Image.Transpose.ROTATE_90).save(root / "nevus" / "b.jpg", quality=60)
    frame, findings, _ = audit_folder(root, limits)
    assert kinds_of(findings, "nevus/b.jpg") >= {"near_duplicate"}
    assert frame.at["nevus/a.jpg", "group"] == frame.at["nevus/b.jpg", "group"] == "nevus/a.jpg"
    assert frame["usable"].all()
    assert frame.at["nevus/nevus_0.png", "group"] == "nevus/nevus_0.png"


def test_dropped_copy_links_its_lesion_to_kept_copy(root, limits):
    shutil.copy(root / "nevus/nevus_0.png", root / "nevus/again.png")
    (root / "metadata.csv").write_text("filename,lesion_id\nnevus/nevus_0.png,L1\nnevus/nevus_1.png,L1\n")
    frame, _, _ = audit_folder(root, limits)
    assert list(frame.index[~frame["usable"]]) == ["nevus/nevus_0.png"]
    assert frame.at["nevus/again.png", "group"] == frame.at["nevus/nevus_1.png", "group"]
    assert frame["group"].nunique() == len(frame) - 2


@pytest.mark.parametrize("decision", ["keep", "drop"])
def test_decision_about_copy_keeps_near_duplicates_in_group(root, limits, decision):
    image = textured(5)
    image.save(root / "nevus/a.png")
    image.save(root / "nevus/b.png")
    image.resize((160, 120)).save(root / "nevus/c.jpg")
    digest = scan(root, ["nevus/a.png"], root.parent / "scans").table["sha256"].iloc[0]
    other = {"keep": "nevus/b.png", "drop": "nevus/a.png"}[decision]
    frame, findings, _ = audit_folder(root, limits, decision_table((other, digest, decision, "", "")))
    assert list(frame.index[~frame["usable"]]) == ["nevus/a.png"]
    assert frame.at["nevus/b.png", "group"] == frame.at["nevus/c.jpg", "group"]
    assert "near_duplicate" in kinds_of(findings, "nevus/b.png")


def test_quarantined_file_links_its_lesion_and_archive_id(root, limits):
    (root / "metadata.csv").write_text("filename,isic_id,lesion_id\nnevus/tiny.png,ISIC_0000007,L1\nnevus/nevus_1.png,X,L1\n")
    noise(3, 16).save(root / "nevus/tiny.png")
    noise(4).save(root / "nevus/ISIC_0000007 (1).png")
    frame, _, _ = audit_folder(root, limits)
    assert frame.at["nevus/tiny.png", "reason"].startswith("too_small")
    assert frame.at["nevus/ISIC_0000007 (1).png", "group"] == frame.at["nevus/nevus_1.png", "group"]


def test_blank_images_link_no_lesions(root, limits):
    for number in (0, 1):
        Image.new("RGB", (80, 80)).save(root / f"nevus/blank_{number}.png")
    (root / "metadata.csv").write_text(
        "filename,lesion_id\nnevus/blank_0.png,L0\nnevus/nevus_0.png,L0\nnevus/blank_1.png,L1\nnevus/nevus_1.png,L1\n"
    )
    frame, _, _ = audit_folder(root, limits)
    assert frame.at["nevus/nevus_0.png", "group"] != frame.at["nevus/nevus_1.png", "group"]


def test_near_duplicates_with_warn_policy_share_no_group(root, limits):
    textured(5).save(root / "nevus/a.jpg", quality=95)
    textured(5).save(root / "nevus/b.jpg", quality=60)
    frame, _, _ = audit_folder(root, with_rule(limits, "near_duplicate", "warn", None))
    assert frame["usable"].all()
    assert frame.at["nevus/a.jpg", "group"] != frame.at["nevus/b.jpg", "group"]


def test_keep_one_policy_respects_decision_about_copy(root, limits):
    image = textured(5)
    image.save(root / "nevus/a.png")
    image.save(root / "nevus/b.png")
    image.resize((160, 120)).save(root / "nevus/c.jpg")
    digest = scan(root, ["nevus/a.png"], root.parent / "scans").table["sha256"].iloc[0]
    rule = with_rule(limits, "near_duplicate", "keep one", None)
    frame, _, _ = audit_folder(root, rule, decision_table(("nevus/b.png", digest, "keep", "", "")))
    assert list(frame.index[~frame["usable"]]) == ["nevus/a.png", "nevus/c.jpg"]


def test_equal_file_names_in_two_classes_are_two_lesions(root, limits):
    for number, name in enumerate(("nevus", "melanoma")):
        noise(60 + number).save(root / name / "1.png")
    frame, _, _ = audit_folder(root, limits)
    assert frame["usable"].all()
    assert frame.at["nevus/1.png", "lesion_id"] == "nevus/1.png"
    assert frame["group"].is_unique
    catalog = frame.reset_index()
    assert catalog[catalog["usable"]].groupby("lesion_id")["diagnosis"].nunique().max() == 1


def with_rule(limits: Validate, kind: str, action: str, max_files: int | None) -> Validate:
    rule = getattr(limits.policy, kind).model_copy(update={"action": action, "max_files": max_files})
    return limits.model_copy(update={"policy": limits.policy.model_copy(update={kind: rule})})


def test_image_under_two_classes_is_not_used_with_fail_policy(root, limits):
    shutil.copy(root / "nevus/nevus_0.png", root / "melanoma/x.png")
    for max_files, stops in ((500, False), (0, True), (None, True)):
        rule = with_rule(limits, "label_conflict", "fail", max_files)
        frame, findings, _ = audit_folder(root, rule)
        assert set(frame.index[~frame["usable"]]) == {"melanoma/x.png", "nevus/nevus_0.png"}
        assert bool(policy_violations(findings, rule.policy)) == stops


@pytest.mark.parametrize("kind", ["unreadable", "unknown_class", "not_in_label_set"])
def test_decision_cannot_keep_unusable_file(root, limits, kind):
    path = {"unreadable": "nevus/bad.jpg", "unknown_class": "a.png", "not_in_label_set": "psoriasis/a.png"}[kind]
    (root / "psoriasis").mkdir()
    for place in ("a.png", "psoriasis/a.png"):
        noise(5).save(root / place)
    (root / "nevus/bad.jpg").write_bytes(b"text")
    digest = scan(root, [path], root.parent / "scans").table["sha256"].iloc[0]
    with pytest.raises(LesionflowError, match=f"decisions.csv keeps {path}, which is {kind}"):
        audit_folder(root, with_rule(limits, kind, "quarantine", 5), decision_table((path, digest, "keep", "", "")))


def test_image_under_two_classes_is_left_out_with_near_duplicates(root, limits):
    shutil.copy(root / "nevus" / "nevus_0.png", root / "melanoma" / "x.png")
    image = textured(5)
    image.save(root / "nevus" / "a.jpg", quality=95)
    image.resize((100, 75)).save(root / "dermatofibroma" / "b.jpg")
    frame, _, _ = audit_folder(root, limits)
    assert set(frame.index[~frame["usable"]]) == {"nevus/nevus_0.png", "melanoma/x.png", "nevus/a.jpg", "dermatofibroma/b.jpg"}
    assert frame.at["melanoma/x.png", "reason"] == "label_conflict: the same bytes under melanoma and nevus"
    assert frame.at["nevus/a.jpg", "reason"].startswith("label_conflict: nearly the same image")


def test_conflicts_are_sorted_by_malignancy_then_certainty(root, limits):
    shutil.copy(root / "nevus" / "nevus_0.png", root / "vascular_lesion" / "x.png")
    noise(77).save(root / "nevus" / "ISIC_0000001.png")
    noise(78).save(root / "melanoma" / "ISIC_0000001 (1).png")
    shutil.copy(root / "nevus" / "nevus_1.png", root / "melanoma" / "y.png")
    _, findings, _ = audit_folder(root, limits)
    messages = [finding.message for finding in findings if finding.kind == "label_conflict"]
    assert messages == [
        "the same bytes under melanoma and nevus",
        "the same archive id under melanoma and nevus",
        "the same bytes under nevus and vascular_lesion",
    ]


def test_metadata_contradicting_folder_is_label_conflict(root, limits):
    (root / "metadata.csv").write_text("filename,diagnosis,lesion_id\nnevus/nevus_0.png,melanoma,L1\nnevus/nevus_1.png,Nevus,L1\n")
    frame, _, _ = audit_folder(root, limits)
    assert frame.at["nevus/nevus_0.png", "reason"] == "label_conflict: metadata.csv says 'melanoma', its folder nevus"
    assert frame.at["nevus/nevus_1.png", "usable"]
    assert frame.at["nevus/nevus_1.png", "lesion_id"] == "L1"
    assert frame.at["nevus/nevus_2.png", "lesion_id"] == "nevus/nevus_2.png"


def test_lesion_under_two_classes_is_left_out(root, limits):
    (root / "metadata.csv").write_text("filename,lesion_id\nnevus/nevus_0.png,L1\nmelanoma/melanoma_0.png,L1\nnevus/nevus_1.png,L2\n")
    frame, _, _ = audit_folder(root, limits)
    assert list(frame.index[~frame["usable"]]) == ["melanoma/melanoma_0.png", "nevus/nevus_0.png"]
    assert set(frame.loc[~frame["usable"], "reason"]) == {"lesion_conflict: lesion L1 is in melanoma and nevus"}


def test_copies_of_archive_image_are_one_lesion(root, limits):
    for number, name in enumerate(("ISIC_0000009.png", "ISIC_0000009 (1).png")):
        noise(50 + number).save(root / "nevus" / name)
    frame, _, _ = audit_folder(root, limits)
    assert frame.at["nevus/ISIC_0000009.png", "lesion_id"] == frame.at["nevus/ISIC_0000009 (1).png", "lesion_id"] == "ISIC_0000009"


def test_image_in_train_and_test_of_source_is_reported_as_leak(root, limits):
    shutil.copy(root / "nevus" / "nevus_0.png", root / "nevus" / "again.png")
    (root / "metadata.csv").write_text("filename,given_side\nnevus/nevus_0.png,train\nnevus/again.png,test\nnevus/nevus_1.png,test\n")
    _, findings, _ = audit_folder(root, limits)
    assert [finding.subjects for finding in findings if finding.kind == "train_test_leak"] == [("nevus/again.png", "nevus/nevus_0.png")]


def test_file_in_no_folder_has_unknown_class(root, limits):
    noise(5).save(root / "a.png")
    assert audit_folder(root, limits)[0].at["a.png", "reason"] == "unknown_class: in no folder that names a diagnosis"


def test_list_files_ignores_licenses_and_attribution(root):
    (root / "attribution.txt").write_text("ISIC")
    (root / "licenses").mkdir()
    (root / "licenses" / "CC-0.txt").write_text("...")
    assert len(dataset.list_files(root)) == 36


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is not a CSV table"),
        ("id,lesion\n1,2\n", "no column 'filename'"),
        ("filename\na.jpg\na.jpg\n", "names 1 files more than once"),
    ],
)
def test_invalid_metadata_is_reported_with_reason(tmp_path, content, reason):
    (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(LesionflowError, match=reason):
        dataset.read_metadata(tmp_path)


def test_decisions_keep_drop_and_relabel_resolve_conflicts(root, limits):
    for name in ("x", "y", "z"):
        shutil.copy(root / "nevus" / f"nevus_{'xyz'.index(name)}.png", root / "melanoma" / f"{name}.png")
    digest = {row.path: row.sha256 for row in scan(root, dataset.list_files(root), root.parent / "scans").table.itertuples()}
    table = decision_table(
        ("melanoma/x.png", digest["melanoma/x.png"], "keep", "", ""),
        ("melanoma/y.png", digest["melanoma/y.png"], "drop", "", ""),
        ("melanoma/z.png", digest["melanoma/z.png"], "relabel", "nevus", ""),
    )
    frame, _, _ = audit_folder(root, limits, table)
    reasons = frame.loc[~frame["usable"], "reason"].str.partition(":")[0].to_dict()
    assert reasons == {"nevus/nevus_0.png": "label_conflict", "melanoma/y.png": "dropped", "nevus/nevus_2.png": "exact_duplicate"}
    assert frame.at["melanoma/z.png", "diagnosis"] == "nevus"


def test_decision_about_other_bytes_is_stale_and_ignored(root, limits):
    table = decision_table(("nevus/nevus_0.png", "0" * 64, "drop", "", ""), ("nevus/gone.png", "0" * 64, "drop", "", ""))
    frame, findings, _ = audit_folder(root, limits, table)
    assert frame["usable"].all()
    assert [finding.message for finding in findings if finding.kind == "stale_decision"] == [
        "drop no longer applies: the file's bytes have changed",
        "drop no longer applies: the file does not exist",
    ]


def test_keeping_image_in_two_classes_is_refused(root, limits):
    shutil.copy(root / "nevus" / "nevus_0.png", root / "melanoma" / "x.png")
    digest = scan(root, ["melanoma/x.png"], root.parent / "scans").table["sha256"].iloc[0]
    table = decision_table(*((path, digest, "keep", "", "") for path in ("melanoma/x.png", "nevus/nevus_0.png")))
    with pytest.raises(LesionflowError, match="keeps the same image in two classes"):
        audit_folder(root, limits, table)


def test_policy_violations_name_param_and_files(root, limits):
    (root / "nevus" / "bad.jpg").write_bytes(b"")
    (root / "metadata.csv").write_text("filename\nnevus/gone.jpg\n")
    for path in sorted((root / "melanoma").iterdir()):
        path.write_bytes(b"")
    frame, findings, _ = audit_folder(root, limits)
    findings += small_classes.find_small_classes(small_classes.count_classes(frame.reset_index(), ISIC9_DEFINITION), 2)
    lines = "\n".join(policy_violations(findings, limits.policy))
    assert "5 unreadable (truncated, corrupt, too large, or not an image); validate.policy.unreadable.max_files allows 0" in lines
    assert "nevus/bad.jpg: empty file" in lines
    assert "validate.policy.missing_file.max_files allows 0" in lines
    assert "nevus/gone.jpg" in lines
    assert "melanoma: 0 usable images, validate.min_images_per_class asks for 2" in lines


def test_small_benign_class_is_left_out_and_small_malignant_one_fails(root, limits):
    for name in ("melanoma", "nevus"):
        for path in sorted((root / name).iterdir())[1:]:
            path.unlink()
    frame, _, _ = audit_folder(root, limits)
    small = small_classes.find_small_classes(small_classes.count_classes(frame.reset_index(), ISIC9_DEFINITION), 2)
    remaining = small_classes.exclude_small_classes(frame.reset_index(), small, limits.policy).set_index("path")
    assert remaining.loc["nevus/nevus_0.png", "reason"] == "small_benign_class: 1 usable images, validate.min_images_per_class asks for 2"
    assert remaining.loc["melanoma/melanoma_0.png", "usable"]
    assert policy_violations(small, limits.policy)[0].startswith("1 small_malignant_class")
    assert not any("small_benign_class" in line for line in policy_violations(small, limits.policy))


def test_nine_diagnoses_are_audited_under_binary_label_set(root, limits):
    frame, _, _ = audit_folder(root, limits, labels="binary")
    classes = small_classes.count_classes(frame.reset_index(), read_definition(ROOT / "labels/binary.yaml"))
    assert classes[["class", "images"]].to_numpy().tolist() == [["benign", 20], ["malignant", 16]]
    assert frame.loc["nevus/nevus_0.png", ["diagnosis", "source_diagnosis"]].tolist() == ["benign", "nevus"]


def test_class_without_a_file_is_no_small_class(root, limits):
    shutil.rmtree(root / "dermatofibroma")
    frame, _, _ = audit_folder(root, limits)
    classes = small_classes.count_classes(frame.reset_index(), ISIC9_DEFINITION)
    assert "dermatofibroma" not in set(classes["class"])
    assert small_classes.find_small_classes(classes, 2) == []


def test_diagnosis_without_class_is_quarantined_and_counted(root, limits):
    (root / "psoriasis").mkdir()
    shutil.move(root / "nevus" / "nevus_0.png", root / "psoriasis" / "a.png")
    frame, findings, _ = audit_folder(root, limits)
    assert frame.loc["psoriasis/a.png", "reason"] == "not_in_label_set: the label set has no class for 'psoriasis'"
    assert validate.not_in_label_set(frame.reset_index()) == {"psoriasis": 1}
    assert policy_violations(findings, limits.policy) == []


@pytest.mark.skipif(not KAGGLE.exists(), reason="the public nine-class download is not beside this checkout (../shared/data)")
def test_conflicting_ids_of_public_download_are_left_out(tmp_path, settings):
    limits = settings.validation
    source = ingest.open_source(KAGGLE, settings.importing)
    members = source.members()
    plan = make_plan(source, members, read_definitions(ROOT / "labels"))
    ingest.write_draft(source, members, content_of(plan), tmp_path / "data")
    targets = plan.targets

    classes_of_id, files_of_id, bytes_of = defaultdict(set), defaultdict(set), defaultdict(set)
    with zipfile.ZipFile(KAGGLE) as archive:
        for name in archive.namelist():
            if name.endswith(".jpg"):
                identity = name.rpartition("/")[2][: len("ISIC_0000000")]
                classes_of_id[identity].add(name.split("/")[2])
                files_of_id[identity].add(targets[name])
                bytes_of[archive.read(name)].add(targets[name])
    ambiguous_ids = {identity for identity, names in classes_of_id.items() if len(names) > 1}
    equal_files = [files for files in bytes_of.values() if len(files) > 1]
    assert len(ambiguous_ids) == 155

    frame, findings, _ = audit_folder(tmp_path / "data", limits)
    conflicts = [set(finding.subjects) for finding in findings if finding.kind == "label_conflict"]
    for identity in ambiguous_ids:
        assert any(files_of_id[identity] <= paths for paths in conflicts), identity
        assert not frame.loc[sorted(files_of_id[identity]), "usable"].any()
    duplicate_groups = [set(finding.subjects) for finding in findings if finding.kind in ("exact_duplicate", "label_conflict")]
    assert all(any(files <= paths for paths in duplicate_groups) for files in equal_files)
    used = frame[frame["usable"]]
    assert used["pixels_sha256"].is_unique
    assert used.groupby("lesion_id")["diagnosis"].nunique().max() == 1
    assert policy_violations(findings, limits.policy) == []
