"""Replaces what names a person in the plan of an import: patient ids, lesion ids that contain them, and file names."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

import pandas as pd

from app.data.conversion import DICOM
from app.data.forms.definitions import FOLDERS
from app.data.members import LICENSES, parts_of
from app.data.plan import ImportPlan
from app.data.pseudonyms import digest, is_public, patient_key
from app.data.tables import FILE, ID

LESION, PATIENT = "lesion_id", "patient_id"
SHORTEST = 4
"""Characters of a patient's id that is looked for in lesion ids and file names; a shorter one occurs in them by chance."""
ARCHIVE_NAME = re.compile(r"ISIC_\d{7}(_downsampled)?", re.IGNORECASE)
"""File name, without suffix, of an image of the ISIC Archive; it is public."""


def names_persons(plan: ImportPlan) -> bool:
    """Whether an import needs the key of pseudonyms."""
    return bool(_personal_patients(plan)) or any(True for _ in _hidden_members(plan))


def without_persons(plan: ImportPlan, secret: bytes) -> ImportPlan:
    """The plan with keys in place of patient ids, and with new file names where the old ones may name a person.

    Names of DICOM files are replaced, those of all images if a table that is not of a public dataset names patients, and in class
    folders those that contain the patient's id. The new ones are img_ and 16 hexadecimal digits; they depend on the member's name and
    size, the namespace and the secret.
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
        if not is_public(patient) and _contains(lesion.removeprefix(f"{namespace}:"), patient)
    }
    return {lesion: f"{namespace}:L_{digest(secret, 'lesion', namespace, lesion)}" for lesion in named}


def _personal_patients(plan: ImportPlan) -> list[str]:
    return list(dict.fromkeys(_patients_of_images(plan).values()))


def _hidden_members(plan: ImportPlan) -> Iterator[str]:
    form, patients = plan.recognised.form, _patients_of_images(plan)
    is_private = plan.recognised.table is not None or not form.headers
    hides_all = bool(patients) and is_private and form.name != FOLDERS.name
    for member, target in plan.targets.items():
        path = PurePosixPath(parts_of(member)[-1])
        if target.startswith(f"{LICENSES}/") or ARCHIVE_NAME.fullmatch(path.stem):
            continue
        if hides_all or path.suffix.lower() in DICOM or (is_private and _contains(path.stem, patients.get(target, ""))):
            yield member


def _patients_of_images(plan: ImportPlan) -> dict[str, str]:
    """The patients whose ids are not public, by path in data/."""
    if plan.metadata is None or PATIENT not in plan.metadata:
        return {}
    pairs = plan.metadata[[FILE, PATIENT]].dropna().itertuples(index=False)
    return {target: patient for target, patient in pairs if not is_public(patient)}


def _contains(text: str, patient: str) -> bool:
    return len(patient) >= SHORTEST and patient.casefold() in text.casefold()
