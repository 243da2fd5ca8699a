"""Everything that the card of a version is made from."""

from dataclasses import dataclass
from pathlib import Path

from components.core.label_set import LabelSet
from components.core.paths import EVALUATION, EXPORT_REPORT
from components.core.reports.candidate import Candidate
from components.core.reports.clinic import Clinic
from components.core.reports.cohort import Cohort
from components.core.reports.evaluation import Evaluation
from components.core.reports.export import ExportReport
from components.core.reports.index import IndexReport
from components.core.reports.measured import Measured
from components.core.reports.statements import Statements
from components.registry import evidence
from components.registry.background import Background, read_background


@dataclass(frozen=True)
class Sources:
    """The evidence of a version, and build/candidate/candidate.json."""

    candidate: Candidate
    measured: Measured
    evaluation: Evaluation
    export: ExportReport
    background: Background

    @property
    def labels(self) -> LabelSet:
        """The outputs, the malignant ones and the critical one."""
        return self.evaluation.label_set

    @property
    def clinic(self) -> Clinic | None:
        """The figures for a clinic; None in versions of older releases."""
        return self.background.clinic

    @property
    def cohort(self) -> Cohort | None:
        """Counts of images; None in versions of older releases."""
        return self.background.cohort

    @property
    def index(self) -> IndexReport | None:
        """What the index of training images is worth; None in versions without one."""
        return self.background.index

    @property
    def statements(self) -> Statements:
        """What a person states about use."""
        return self.background.statements


def read_sources(candidate: Candidate, folder: Path) -> Sources:
    """Read what the card is made from.

    Args:
        candidate: candidate.json of the version.
        folder: its evidence.

    Raises:
        LesionflowError: a file is missing or not valid.
    """
    return Sources(
        candidate,
        Measured.read(folder / evidence.MEASURED),
        Evaluation.read(folder / EVALUATION.name),
        ExportReport.read(folder / EXPORT_REPORT.name),
        read_background(folder),
    )
