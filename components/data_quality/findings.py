"""Finds and ranks problems of a dataset; policy.py decides what happens to the files.

Every function is pure: it takes frames and returns findings. A finding names its files, most relevant first.

Cleanlab's cleanvision (0.3.7) was tried and is not used: it compares perceptual hashes, so it misses mirrored, rotated and cropped
copies; it does not use labels, lesions or archive IDs; and it decodes every file twice.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.data_quality.groups import connected_labels, equal_key_pairs
from components.data_quality.label_definitions import LabelDefinition
from components.data_quality.near_duplicates import Pairs
from components.imaging import appearance
from components.imaging.appearance import Appearance
from components.runtime.validation_params import Validate

KINDS = {
    "unreadable": "truncated, corrupt, too large, or not an image",
    "unknown_class": "in no folder that names a diagnosis",
    "not_in_label_set": "a diagnosis that has no class in the label set",
    "too_small": "width or height below validate.min_side",
    "low_information": "almost no contrast",
    "odd_aspect_ratio": "aspect ratio above validate.max_aspect",
    "not_rgb": "color mode is not RGB",
    "exif_rotated": "stored rotated, with an EXIF orientation",
    "not_dermoscopic": "mostly one color, or black and white",
    "label_conflict": "the same image or archive ID in two classes",
    "lesion_conflict": "the same lesion in two classes",
    "lesion_of_several_patients": "the same lesion ID for several patients",
    "exact_duplicate": "the same pixels more than once in one class",
    "near_duplicate": "the same image resized, recompressed, mirrored, rotated, cropped or brightened",
    "train_test_leak": "the same image in both Train and Test of the imported dataset",
    "missing_license": "no license named",
    "missing_file": "listed in metadata.csv, but the file does not exist",
    "small_malignant_class": "a malignant class with too few usable images",
    "small_benign_class": "a benign class with too few usable images",
    "stale_decision": "a decision about a file that has changed or no longer exists",
}
ARCHIVE_ID = re.compile(r"(ISIC_\d+)")
Link = tuple[int, int, float, str]
"""Two positions, the strength of the evidence that they belong together (larger is stronger), and the reason."""


@dataclass(frozen=True)
class Finding:
    """`subjects`: the files, or names of classes; `message`: the message; `severity`: urgency within a kind, larger is more urgent."""

    kind: str
    subjects: tuple[str, ...]
    message: str
    severity: float = 0.0


def find_file_problems(files: pd.DataFrame, limits: Validate) -> Iterator[Finding]:
    """Find problems of single files. `files` has the columns of scan.FIELDS, path and diagnosis."""
    for row in files.itertuples():
        if row.fault:
            yield Finding("unreadable", (row.path,), row.fault)
            continue
        if pd.isna(row.diagnosis):
            yield _without_class(row.path, row.source_diagnosis)
        short, long = sorted((row.width, row.height))
        size = f"{row.width} x {row.height} px"
        if short < limits.min_side:
            yield Finding("too_small", (row.path,), f"{size} is smaller than {limits.min_side} px a side")
        if long > limits.max_aspect * short:
            yield Finding("odd_aspect_ratio", (row.path,), f"{size} is more than {limits.max_aspect:g} times as long as wide")
        looks = Appearance(row.contrast, row.one_colour, row.colourfulness)
        if found := appearance.problem(looks, limits.min_contrast, limits.max_dominant_color_fraction):
            yield Finding(found.kind, (row.path,), found.message, found.severity)
        if row.mode != "RGB":
            yield Finding("not_rgb", (row.path,), f"stored as {row.mode}")
        if row.orientation != 1:
            yield Finding("exif_rotated", (row.path,), f"EXIF orientation {row.orientation}")
        if pd.isna(row.license):
            yield Finding("missing_license", (row.path,), KINDS["missing_license"])


def _without_class(path: str, source_diagnosis: object) -> Finding:
    if not isinstance(source_diagnosis, str):
        return Finding("unknown_class", (path,), KINDS["unknown_class"])
    return Finding("not_in_label_set", (path,), f"the label set has no class for {source_diagnosis!r}")


def find_label_conflicts(images: pd.DataFrame, pairs: Pairs, metadata: pd.DataFrame | None, definition: LabelDefinition) -> list[Finding]:
    """Find images and archive IDs that occur in two classes, most urgent first.

    Conflicts between a malignant and a benign class come first, then those with the strongest evidence: the same bytes, the same
    pixels, near-duplicates, the same archive ID. Conflicts that share a file are merged into one finding.

    Args:
        images: readable images in classes: path, diagnosis, sha256, pixels_sha256.
        pairs: near-duplicates, as positions in `images`.
        metadata: metadata.csv indexed by filename, or None.
        definition: the label set.
    """
    links: list[Link] = []
    for column, weight, reason in (("sha256", 3.0, "the same bytes"), ("pixels_sha256", 2.0, "the same pixels")):
        links += _equal_key_pairs(images[column], weight, reason)
    ids = images["path"].str.rsplit("/", n=1).str[-1].str.extract(ARCHIVE_ID, expand=False)
    links += _equal_key_pairs(ids, 0.5, "the same archive id")
    for (one, other), score in zip(pairs.indices.tolist(), pairs.scores.tolist(), strict=True):
        links.append((one, other, score, f"nearly the same image ({score:.2f})"))
    paths, labels = images["path"].to_numpy(), images["diagnosis"].to_numpy()
    found = [
        finding
        for members, links_within in connected_groups(links, len(images))
        if (finding := _conflict(paths, labels, members, links_within, definition))
    ]
    if metadata is not None and "diagnosis" in metadata:
        found += _contradictions(images, metadata["diagnosis"], definition)
    return sorted(found, key=lambda finding: (-finding.severity, finding.subjects))


def _equal_key_pairs(keys: "pd.Series[str]", weight: float, reason: str) -> list[Link]:
    """Link neighboring positions with equal keys."""
    return [(one, other, weight, reason) for one, other in equal_key_pairs(keys).tolist()]


def connected_groups(links: Iterable[Link], count: int) -> list[tuple[list[int], list[Link]]]:
    """Connected components of two or more positions, directly or indirectly linked, in ascending order, each with its links."""
    links = list(links)
    number_of = connected_labels(np.array([link[:2] for link in links], dtype=np.int64).reshape(-1, 2), count).tolist()
    links_within: defaultdict[int, list[Link]] = defaultdict(list)
    for link in links:
        links_within[number_of[link[0]]].append(link)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for position, number in enumerate(number_of):
        if number in links_within:
            members[number].append(position)
    return [(positions, links_within[number]) for number, positions in members.items()]


def _conflict(
    paths: NDArray[np.object_], labels: NDArray[np.object_], members: list[int], links: list[Link], definition: LabelDefinition
) -> Finding | None:
    classes = sorted(set(labels[members]))
    if len(classes) < 2:
        return None
    crossing = [link for link in links if labels[link[0]] != labels[link[1]]]
    weight, why = max((link[2:] for link in crossing or links), key=lambda link: link[0])
    urgency = weight + 10 * _malignancy_differs(classes, definition)
    return Finding(
        "label_conflict",
        tuple(paths[members]),
        f"{why} under {' and '.join(classes)}",
        urgency,
    )


def _malignancy_differs(classes: Iterable[str], definition: LabelDefinition) -> bool:
    return len({definition.classes[name].malignant for name in classes}) > 1


def _contradictions(images: pd.DataFrame, diagnoses: "pd.Series[str]", definition: LabelDefinition) -> Iterator[Finding]:
    known = images["path"].map(diagnoses)
    for path, diagnosis, other in zip(images["path"], images["diagnosis"], known, strict=True):
        if isinstance(other, str) and definition.class_of(other) != diagnosis:
            yield Finding("label_conflict", (path,), f"metadata.csv says {other!r}, its folder {diagnosis}", 1.0)


def find_lesion_conflicts(images: pd.DataFrame, definition: LabelDefinition) -> list[Finding]:
    """Find lesions with two diagnoses; `images` are those whose lesion is named in metadata.csv."""
    classes = images.groupby("lesion_id")["diagnosis"].nunique()
    found = []
    for lesion, rows in images[images["lesion_id"].isin(classes.index[classes > 1])].groupby("lesion_id"):
        names = sorted(set(rows["diagnosis"]))
        urgency = float(_malignancy_differs(names, definition))
        found.append(Finding("lesion_conflict", tuple(rows["path"]), f"lesion {lesion} is in {' and '.join(names)}", urgency))
    return sorted(found, key=lambda finding: (-finding.severity, finding.subjects))


def find_exact_duplicates(images: pd.DataFrame) -> list[Finding]:
    """Find images of one class with equal pixels, sorted by path; equal pixels in two classes are a label conflict."""
    key = ["pixels_sha256", "diagnosis"]
    same = images[images.duplicated(key, keep=False)].groupby(key)
    return sorted(
        (
            Finding("exact_duplicate", tuple(rows["path"]), "the same bytes" if rows["sha256"].nunique() == 1 else "the same pixels")
            for _, rows in same
        ),
        key=lambda finding: finding.subjects,
    )


def find_near_duplicates(images: pd.DataFrame, pairs: Pairs) -> list[Finding]:
    """Find near-duplicates with all their exact copies, closest first; chains of near-duplicates are one finding."""
    paths, copies = images["path"].to_numpy(), _equal_key_pairs(images["pixels_sha256"], 0.0, "")
    found = []
    for members, links_within in connected_groups([*copies, *_pair_links(pairs)], len(images)):
        score = max(link[2] for link in links_within)
        if score:
            found.append(Finding("near_duplicate", tuple(paths[members]), f"nearly the same image ({score:.2f})", score))
    return sorted(found, key=lambda finding: (-finding.severity, finding.subjects))


def _pair_links(pairs: Pairs) -> list[Link]:
    return [(one, other, score, "") for (one, other), score in zip(pairs.indices.tolist(), pairs.scores.tolist(), strict=True)]


def find_train_test_leaks(images: pd.DataFrame, pairs: Pairs) -> list[Finding]:
    """Find images that are in both splits of the imported dataset (column given_side)."""
    links = _equal_key_pairs(images["pixels_sha256"], 1.0, "") + _pair_links(pairs)
    paths, sides = images["path"].to_numpy(), images["given_side"].to_numpy()
    found = []
    for members, _ in connected_groups(links, len(images)):
        given = {side for side in sides[members] if isinstance(side, str)}
        if len(given) > 1:
            found.append(Finding("train_test_leak", tuple(paths[members]), f"one image in {' and '.join(sorted(given))}"))
    return found
