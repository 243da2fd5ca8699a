"""Replaces what names a person in the plan of an import: patient ids, lesion ids that contain them, and file names."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

import pandas as pd

from app.data.conversion import DICOM
from app.data.forms.definitions import TABLE
from app.data.members import LICENSES, parts_of
from app.data.plan import ImportPlan
from app.data.pseudonyms import digest, is_public, patient_key
from app.data.tables import FILE, ID

LESION, PATIENT = "lesion_id", "patient_id"
SHORTEST = 4
"""Characters of a patient's id that are looked for in the ids of lesions; a shorter one occurs in them by chance."""
ARCHIVE_NAME = re.compile(r"ISIC_\d{7}(_downsampled)?", re.IGNORECASE)
"""File name, without suffix, of an image of the ISIC Archive; it is public."""


def names_persons(plan: ImportPlan) -> bool:
    """Whether an import needs the key of pseudonyms."""
    return bool(_personal_patients(plan)) or any(True for _ in _hidden_members(plan))


def without_persons(plan: ImportPlan, secret: bytes) -> ImportPlan:
    """The plan with keys in place of patient ids, and with new file names where the old ones may name a person.

    Names of DICOM files are replaced, and those of all images if a table that is not of a public dataset names patients. The new ones
    are img_ and 16 hexadecimal digits; they depend on the member's name and size, the namespace and the secret.
    """
    renamed = {}
    for member in _hidden_members(plan):
        target = PurePosixPath(plan.targets[member])
        name = digest(secret, "image", plan.namespace, member, str(plan.sizes[member]))
        renamed[str(target)] = str(target.with_name(f"img_{name}{target.suffix}"))
    targets = {member: renamed.get(target, target) for member, target in plan.targets.items()}
    return replace(plan, targets=targets, metadata=None if plan.metadata is None else _rewrite(plan, renamed, secret))


def _rewrite(plan: ImportPlan, renamed: dict[str, str], secret: bytes) -> pd.DataFrame | None:
    table = plan.metadata
    assert table is not None
    table = table.copy()
    if patients := _personal_patients(plan):
        if LESION in table:
            table[LESION] = _replaced(table[LESION], _lesions_with_patients(table, plan.namespace, secret))
        table[PATIENT] = _replaced(table[PATIENT], {patient: patient_key(secret, plan.namespace, patient) for patient in patients})
    if ID in table:
        hidden = table[FILE].isin(renamed)
        table[ID] = table[ID].mask(hidden & ~table[ID].str.fullmatch(ARCHIVE_NAME).fillna(False).astype(bool))
    table[FILE] = _replaced(table[FILE], renamed)
    table = table.dropna(axis="columns", how="all")
    return table if len(table.columns) > 1 else None


def _replaced(values: "pd.Series[str]", new: Mapping[str, str]) -> "pd.Series[str]":
    return values.map(lambda value: new.get(value, value), na_action="ignore").astype("str")


def _lesions_with_patients(table: pd.DataFrame, namespace: str, secret: bytes) -> dict[str, str]:
    """A key for each lesion id that contains the id of its patient."""
    pairs = table[[LESION, PATIENT]].dropna().drop_duplicates()
    named = {
        lesion
        for lesion, patient in pairs.itertuples(index=False)
        if len(patient) >= SHORTEST and patient.casefold() in lesion.removeprefix(f"{namespace}:").casefold() and not is_public(patient)
    }
    return {lesion: f"{namespace}:L_{digest(secret, 'lesion', namespace, lesion)}" for lesion in named}


def _personal_patients(plan: ImportPlan) -> list[str]:
    if plan.metadata is None or PATIENT not in plan.metadata:
        return []
    return [patient for patient in plan.metadata[PATIENT].dropna().unique() if not is_public(patient)]


def _hidden_members(plan: ImportPlan) -> Iterator[str]:
    own_table = plan.recognised.table is not None or plan.recognised.form.name == TABLE.name
    has_patients = own_table and bool(_personal_patients(plan))
    for member, target in plan.targets.items():
        path = PurePosixPath(parts_of(member)[-1])
        if target.startswith(f"{LICENSES}/") or ARCHIVE_NAME.fullmatch(path.stem):
            continue
        if has_patients or path.suffix.lower() in DICOM:
            yield member
