"""Validate the dataset: scan every file of data/, apply the policy of params.yaml to all findings, and check expectations.

Reads data/, labels/ and decisions.csv. Writes build/catalog.parquet (one row per file), build/label_set.json (the outputs of the model:
the classes of the label set that the dataset has), build/quarantine.csv, build/findings.csv, reports/validation/ (Data Docs) and
reports/validation.json. Nothing in data/ is changed or deleted. Scan results are cached in
build/scans/ by content, so only new images are decoded.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from components.core import spreadsheets
from components.core.catalog import COLUMNS
from components.core.errors import LesionflowError
from components.core.files import atomic_write, write_json
from components.core.label_set import LabelSet
from components.core.paths import CATALOG, DATA, FINDINGS, LABEL_SET, QUARANTINE, REPORTS, SCANS, UNFINISHED_SWAP
from components.data_quality import decisions, expectations, findings, groups, patients, policy, small_classes
from components.data_quality.data_docs import Counts
from components.data_quality.dataset import METADATA, add_labels, list_files, read_metadata
from components.data_quality.decisions import Decisions
from components.data_quality.findings import ARCHIVE_ID, Finding
from components.data_quality.label_choice import choose_definition
from components.data_quality.label_definitions import LabelDefinition
from components.data_quality.near_duplicates import Pairs, find_near_pairs
from components.data_quality.nearest_points import index_for
from components.data_quality.scan import ScanResult, scan
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.runtime.stage import run
from components.runtime.validation_params import Policy, Validate

REPORT = REPORTS / "validation.json"
DOCS = REPORTS / "validation"


def find_look_alikes(frame: pd.DataFrame, scans: ScanResult, limits: Validate) -> Pairs:
    """Find near-duplicates among all readable files, as positions in `frame`; the first of equal images represents all."""
    readable = np.flatnonzero(frame["fault"] == "")
    first = readable[first_of_equal_images(frame.iloc[readable], limits)]
    pairs = find_near_pairs(scans.thumbnails[first], limits.near_duplicate_score, index_for(len(first)))
    return Pairs(first[pairs.indices], pairs.scores)


def add_groups(frame: pd.DataFrame, pairs: Pairs, limits: Validate) -> list[str]:
    """For each file, the path of the first file of its group: files of the same patient, lesion, archive ID or image.

    Blank images resemble each other, so they are not used as links. Near-duplicates are links unless the policy only warns about
    them.
    """
    shown = frame["pixels_sha256"].where((frame["fault"] == "") & (frame["contrast"] >= limits.min_contrast))
    archive_ids = frame["isic_id"].str.extract(ARCHIVE_ID, expand=False)
    keys = pd.DataFrame({"patient": frame["patient_id"], "lesion": frame["lesion_id"], "image": archive_ids, "pixels": shown})
    linking = pairs if limits.policy.near_duplicate.action != "warn" else Pairs(pairs.indices[:0], pairs.scores[:0])
    return frame["path"].groupby(groups.group_numbers(keys, linking)).transform("first").tolist()


@dataclass(frozen=True)
class LabeledFiles:
    """The scanned files with their labels, metadata.csv indexed by filename (or None), and the label set."""

    frame: pd.DataFrame
    metadata: pd.DataFrame | None
    definition: LabelDefinition


def find_problems(labeled: LabeledFiles, pairs: Pairs, dropped: frozenset[str], limits: Validate) -> list[Finding]:
    """Find all problems of a dataset's files, except those dropped by a reviewer; `pairs` are positions in the frame."""
    frame, metadata, definition = labeled.frame, labeled.metadata, labeled.definition
    candidates = frame[~frame["path"].isin(dropped)]
    images = candidates[(candidates["fault"] == "") & candidates["diagnosis"].notna()].reset_index(drop=True)
    pairs = _among(images, frame["pixels_sha256"], pairs)
    problems = list(findings.find_file_problems(candidates, limits))
    problems += findings.find_label_conflicts(images, pairs, metadata, definition)
    problems += findings.find_lesion_conflicts(images[images["named_lesion"].notna()], definition)
    problems += patients.find_shared_lesions(images, METADATA)
    problems += findings.find_exact_duplicates(images)
    problems += findings.find_near_duplicates(images, pairs)
    problems += findings.find_train_test_leaks(images, pairs)
    if metadata is not None:
        missing = sorted(set(metadata.index) - set(frame["path"]))
        problems += [Finding("missing_file", (name,), findings.KINDS["missing_file"]) for name in missing]
    return problems


def _among(images: pd.DataFrame, pixels: "pd.Series[str]", pairs: Pairs) -> Pairs:
    """Convert `pairs` from positions in `pixels` to positions in `images`; the first image with the same pixels represents all."""
    first = images["pixels_sha256"].drop_duplicates()
    positions = pixels.map(pd.Series(first.index, index=first.to_numpy())).fillna(-1).to_numpy(dtype=np.int64)
    indices = positions[pairs.indices]
    among_images = (indices >= 0).all(axis=1)
    return Pairs(indices[among_images], pairs.scores[among_images])


def first_of_equal_images(images: pd.DataFrame, limits: Validate) -> np.ndarray:
    """Positions to search for near-duplicates: the first of each set of equal images, without blank images."""
    return np.flatnonzero(~images["pixels_sha256"].duplicated() & (images["contrast"] >= limits.min_contrast))


def build_catalog(frame: pd.DataFrame, reasons: dict[str, str]) -> pd.DataFrame:
    """Build the catalog from the files and the reasons of excluded files."""
    texts = [reasons.get(path, "") for path in frame["path"]]
    return frame.assign(reason=texts, usable=[not reason for reason in texts])[list(COLUMNS)]


def label_files(root: Path, files: pd.DataFrame, decided: pd.DataFrame, labels: str) -> tuple[LabeledFiles, Decisions]:
    """Give each scanned file its class, from its folder, metadata.csv or the reviewer's decision, under the label set that the param
    `labels` chooses; return these and the decisions that apply.

    Raises:
        LesionflowError: the label set does not exist or has no class for most images.
    """
    metadata = read_metadata(root)
    definition = choose_definition(labels, root, files["path"], metadata)
    frame = add_labels(files, metadata, definition)
    matched = decisions.match_decisions(decided, frame)
    for path, diagnosis in matched.relabel.items():
        frame.loc[frame["path"] == path, ["diagnosis", "source_diagnosis"]] = [definition.class_of(diagnosis), diagnosis]
    if metadata is not None and "diagnosis" in metadata:
        metadata = metadata.assign(diagnosis=metadata["diagnosis"].where(~metadata.index.isin(matched.relabel)))
    return LabeledFiles(frame, metadata, definition), matched


def audit_dataset(labeled: LabeledFiles, decided: Decisions, scans: ScanResult, limits: Validate) -> "Audit":
    """Audit the labeled files, given the reviewer's decisions; small classes are not looked for yet."""
    frame = labeled.frame
    pairs = find_look_alikes(frame, scans, limits)
    frame["group"] = add_groups(frame, pairs, limits)
    problems = [*find_problems(labeled, pairs, decided.drop, limits), *decided.stale]
    reasons = policy.apply_policy(problems, limits.policy, decided, dict(zip(frame["path"], frame["diagnosis"], strict=True)))
    catalog = build_catalog(frame, reasons)
    table = policy.as_table(problems, limits.policy, reasons, frame)
    return Audit(catalog, problems, table, small_classes.count_classes(catalog, labeled.definition), labeled.definition)


@dataclass(frozen=True)
class Audit:
    """The result of validation: the catalog, the findings with those on small classes, the findings as a table, the usable images and
    lesions of each class that the dataset has, and the label set."""

    catalog: pd.DataFrame
    findings: list[Finding]
    table: pd.DataFrame
    classes: pd.DataFrame
    definition: LabelDefinition

    @property
    def missing_classes(self) -> list[str]:
        """Classes of the label set without a single file in the dataset; they are not outputs of the model."""
        return [name for name in self.definition.classes if name not in set(self.classes["class"])]

    @property
    def label_set(self) -> LabelSet:
        """The outputs of the model: the classes with usable images.

        Raises:
            LesionflowError: there are fewer than two.
        """
        return self.definition.label_set(self.classes.loc[self.classes["images"] > 0, "class"].tolist())

    @property
    def excluded(self) -> pd.DataFrame:
        """Excluded files with their reasons."""
        return self.catalog.loc[~self.catalog["usable"], ["path", "diagnosis", "lesion_id", "reason"]]


def validate(settings: Settings) -> None:
    """Run the stage.

    Raises:
        LesionflowError: data/ is missing or empty, no label set fits, a threshold is exceeded, or an expectation is not met.
    """
    scans = scan(DATA, list_dataset(), SCANS)
    limits, decided = settings.validation, decisions.load_decisions()
    labeled, matched = label_files(DATA, scans.table, decided, settings.labels)
    audit = exclude_small(audit_dataset(labeled, matched, scans, limits), limits)
    write_tables(audit)
    findings_per_class = policy.per_class(audit.table, list(audit.definition.classes))
    with atomic_write(DOCS) as draft:
        catalog = expectations.AuditedCatalog(audit.catalog, audit.classes, findings_per_class, matched.keep)
        unmet = expectations.check_catalog(catalog, limits, draft)
    write_report(audit, findings_per_class, expectations_met=not unmet)
    print_summary(audit, scans.decoded, limits.policy)
    violations = policy.policy_violations(audit.findings, limits.policy)
    if violations or unmet:
        hint = f"{FINDINGS} lists all findings. Run `lesionflow data review` to see the images; {DATA}/ was not changed."
        raise LesionflowError("\n".join([*violations, *unmet, hint]))
    with atomic_write(LABEL_SET) as draft:
        audit.label_set.write(draft)


def list_dataset() -> list[str]:
    """The files of data/.

    Raises:
        LesionflowError: data/ is missing, empty, or was being replaced when an import was killed.
    """
    if UNFINISHED_SWAP.exists():
        raise LesionflowError(
            f"an import was interrupted while it replaced {DATA}/. Run `lesionflow data recover` to restore the previous dataset."
        )
    if not DATA.is_dir():
        raise LesionflowError(
            f"{DATA}/ does not exist. Run `dvc pull` for the bundled sample or `lesionflow import SRC` for your own images."
        )
    files = list_files(DATA)
    if not files:
        raise LesionflowError(f"{DATA}/ contains no files. Run `lesionflow import SRC` to import a dataset.")
    return files


def exclude_small(audit: Audit, limits: Validate) -> Audit:
    """Add findings about small classes, and exclude these classes as the policy demands."""
    found = small_classes.find_small_classes(audit.classes, limits.min_images_per_class)
    catalog = small_classes.exclude_small_classes(audit.catalog, found, limits.policy)
    return replace(
        audit, catalog=catalog, findings=[*audit.findings, *found], classes=small_classes.count_classes(catalog, audit.definition)
    )


def write_tables(audit: Audit) -> None:
    """Write the catalog, the excluded files and the findings."""
    with atomic_write(CATALOG) as draft:
        audit.catalog.to_parquet(draft, index=False)
    with atomic_write(QUARANTINE) as draft:
        spreadsheets.write(audit.excluded, draft)
    with atomic_write(FINDINGS) as draft:
        spreadsheets.write(audit.table, draft)


def write_report(audit: Audit, findings_per_class: Counts, expectations_met: bool) -> None:
    """Write reports/validation.json."""
    usable = audit.catalog["usable"]
    write_json(
        REPORT,
        {
            "files": len(audit.catalog),
            "usable": int(usable.sum()),
            "lesions": int(audit.catalog.loc[usable, "lesion_id"].nunique()),
            "patients": int(audit.catalog.loc[usable, "patient_id"].nunique()),
            "quarantined": dict(Counter(reason.partition(":")[0] for reason in audit.excluded["reason"])),
            "found": dict(policy.count_findings(audit.findings)),
            "found_per_class": findings_per_class,
            "label_set": audit.definition.name,
            "missing_classes": audit.missing_classes,
            "not_in_label_set": dict(not_in_label_set(audit.catalog)),
            "images_per_class": dict(zip(audit.classes["class"], audit.classes["images"].tolist(), strict=True)),
            "expectations_met": expectations_met,
        },
    )


def not_in_label_set(catalog: pd.DataFrame) -> Counter[str]:
    """Number of readable files of each diagnosis that has no class in the label set."""
    return Counter(catalog.loc[catalog["diagnosis"].isna() & (catalog["format"].notna()), "source_diagnosis"].dropna())


def print_summary(audit: Audit, decoded: int, limits: Policy) -> None:
    """Print the numbers of files, and of each kind of finding with what the policy does about it; `decoded`: files not scanned before."""
    files, usable, excluded = len(audit.catalog), int(audit.catalog["usable"].sum()), len(audit.excluded)
    print(f"{files} files ({decoded} decoded), {usable} usable, {excluded} excluded ({QUARANTINE})")
    print(f"label set {audit.definition.name}: {audit.definition.description}")
    if audit.missing_classes:
        print(f"  no image of {', '.join(audit.missing_classes)}: the model will not predict these classes")
    if without := not_in_label_set(audit.catalog):
        print(f"  no class for {', '.join(f'{count} of {name}' for name, count in without.most_common())}")
    for kind, count in policy.count_findings(audit.findings).most_common():
        print(f"  {count:>6} {kind:<21} {policy.policy_for(limits, kind).action:<11} {findings.KINDS[kind]}")


if __name__ == "__main__":
    run(lambda: validate(load()), __doc__)
