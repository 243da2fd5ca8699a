"""The part of a version's evidence that only its model card reads: figures for a clinic, counts of images, params, and statements.

The versions of older releases do not have it.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core.files import read_json, require_file, write_json
from components.core.paths import CLINIC, INDEX_REPORT
from components.core.reports.clinic import Clinic
from components.core.reports.cohort import Cohort
from components.core.reports.index import IndexReport
from components.core.reports.statements import Statements
from components.registry.cohort import read_cohort
from components.runtime.params import Settings

COHORT, PARAMS, STATEMENTS = "cohort.json", "params.json", "statements.json"
LEFT_OUT = {"importing", "overrides"}
"""Sections that decide nothing about a version, or that the evidence holds elsewhere."""


@dataclass(frozen=True)
class Background:
    """What the card needs beside the evidence that the gate reads.

    Attributes:
        clinic: reports/clinic.json at registration; None in versions of older releases.
        cohort: counts of images; None as `clinic`.
        index: reports/index.json at registration; None in versions that hold no features of training images.
        params: the sections of params.yaml; empty as `clinic`.
        statements: what a person states about use; empty as `clinic`.
    """

    clinic: Clinic | None = None
    cohort: Cohort | None = None
    index: IndexReport | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    statements: Statements = field(default_factory=Statements)


def write_background(folder: Path, settings: Settings) -> None:
    """Write the files of the present run to a folder that exists.

    Raises:
        LesionflowError: a report or table does not exist, or card.yaml is not valid.
    """
    Statements.load().write(folder / STATEMENTS)
    for report in (CLINIC, INDEX_REPORT):
        shutil.copy(require_file(report), folder / report.name)
    read_cohort().write(folder / COHORT)
    write_json(folder / PARAMS, settings.model_dump(mode="json", by_alias=True, exclude=LEFT_OUT))


def read_background(folder: Path) -> Background:
    """Read the files from a folder of evidence.

    Raises:
        LesionflowError: a file is not valid.
    """

    def there(name: str) -> Path | None:
        return folder / name if (folder / name).exists() else None

    clinic, index = there(CLINIC.name), there(INDEX_REPORT.name)
    cohort, params, statements = there(COHORT), there(PARAMS), there(STATEMENTS)
    return Background(
        clinic=Clinic.read(clinic) if clinic else None,
        cohort=Cohort.read(cohort) if cohort else None,
        index=IndexReport.read(index) if index else None,
        params=read_json(params) if params else {},
        statements=Statements.read(statements) if statements else Statements(),
    )
