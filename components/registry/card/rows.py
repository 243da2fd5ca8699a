"""The rows of the card, in their order, with the guidelines that ask for each.

The items are those of CLEAR Derm (Daneshjou 2022), STARD-AI (2025), TRIPOD+AI (Collins 2024), CLAIM (2024), DECIDE-AI (Vasey 2022),
MI-CLAIM (Norgeot 2020), the EU's AI Act (Regulation (EU) 2024/1689) and MDR, and the transparency principles of FDA, Health Canada and
MHRA (2024).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from components.registry.card import data_rows, model_rows, performance_rows, robustness_rows, use_rows
from components.registry.card.entries import Contents
from components.registry.card.model import Row
from components.registry.card.sources import Sources

ACT, CLEAR, STARD, TRIPOD = "AI Act", "CLEAR Derm", "STARD-AI", "TRIPOD+AI"
CLAIM, DECIDE, FDA, MICLAIM, MDR = "CLAIM", "DECIDE-AI", "Transparency principles (FDA, MHRA)", "MI-CLAIM", "MDR"
GUIDELINES = (CLEAR, STARD, TRIPOD, ACT, CLAIM, DECIDE, MICLAIM, FDA, MDR)
"""In the order of the checklist."""
USE, MODEL, IMAGES, FIGURES, OPERATION = "Use", "Model", "Images", "Figures on test", "In operation"


def limits(sources: Sources) -> Contents:
    """What to know before use; each has more detail further down."""
    failures, robustness = robustness_rows.failures(sources).entries, robustness_rows.robustness(sources).entries
    return Contents(
        {
            "missed_critical": failures["missed_critical"],
            "worst_class": failures["worst_class"],
            "worst_subgroup": performance_rows.subgroups(sources).entries["worst"],
            "worst_shift": robustness["worst_shift"],
            "never_named": data_rows.classes(sources).entries["never_named"],
            "other_data": model_rows.model_input(sources).entries["missing"],
        }
    )


@dataclass(frozen=True)
class Subject:
    """A row before it is filled: its title, its section, what fills it, and who asks for it."""

    title: str
    section: str
    fill: Callable[[Sources], Contents]
    asked_by: Mapping[str, str]

    def row(self, sources: Sources) -> Row:
        """The row of a version."""
        contents = self.fill(sources)
        return Row(
            title=self.title,
            section=self.section,
            asked_by=dict(self.asked_by),
            entries=dict(contents.entries),
            tables=dict(contents.tables),
            flow=tuple(contents.flow),
        )


SUBJECTS = {
    "intended_use": Subject(
        "Intended use",
        USE,
        use_rows.intended_use,
        {
            CLEAR: "intended use and users",
            STARD: "intended use and clinical role",
            TRIPOD: "intended purpose and users",
            ACT: "Article 13(3)(b)(i), intended purpose",
            CLAIM: "intended use",
            DECIDE: "intended use",
            FDA: "what the device is for, and for whom",
            MDR: "Annex I, 23.4, intended purpose",
        },
    ),
    "limits": Subject(
        "Limits",
        USE,
        limits,
        {FDA: "known limits", ACT: "Article 13(3)(b)(iii), foreseeable risks"},
    ),
    "oversight": Subject(
        "Human oversight",
        USE,
        use_rows.oversight,
        {ACT: "Article 14(4)(b), automation bias", DECIDE: "human factors"},
    ),
    "stopping": Subject(
        "When to stop using it",
        USE,
        use_rows.stopping,
        {ACT: "Article 13(3)(c) and (e), changes and lifetime"},
    ),
    "identity": Subject(
        "Identity",
        MODEL,
        model_rows.identity,
        {ACT: "Article 13(3)(a), provider and contact", STARD: "version of the algorithm"},
    ),
    "input": Subject(
        "Input",
        MODEL,
        model_rows.model_input,
        {
            ACT: "Article 13(3)(b)(vi), input data",
            TRIPOD: "27a, poor or missing input",
            CLAIM: "preprocessing",
            CLEAR: "image capture and artifacts",
        },
    ),
    "training": Subject(
        "Training",
        MODEL,
        model_rows.training,
        {CLAIM: "training, in enough detail to repeat it", CLEAR: "development of the algorithm"},
    ),
    "thresholds": Subject(
        "Thresholds",
        MODEL,
        model_rows.thresholds,
        {STARD: "12a, thresholds and how they were chosen"},
    ),
    "logic": Subject(
        "Logic",
        MODEL,
        model_rows.logic,
        {FDA: "logic and explainability", ACT: "Article 13(3)(d), interpretation of the output"},
    ),
    "availability": Subject(
        "Availability",
        MODEL,
        model_rows.availability,
        {TRIPOD: "18, code and data", CLEAR: "public availability"},
    ),
    "image_sources": Subject(
        "Sources of the images",
        IMAGES,
        data_rows.image_sources,
        {CLEAR: "image sources and devices", STARD: "where and when data were collected"},
    ),
    "exclusions": Subject(
        "Exclusions",
        IMAGES,
        data_rows.exclusions,
        {STARD: "19, flow of participants", CLAIM: "flow of cases"},
    ),
    "reference_standard": Subject(
        "Reference standard",
        IMAGES,
        data_rows.reference_standard,
        {STARD: "10b, reference standard", CLEAR: "malignant by histology", CLAIM: "ground truth"},
    ),
    "malignancy": Subject(
        "Malignancy",
        IMAGES,
        data_rows.malignancy_definition,
        {CLEAR: "definition of malignant"},
    ),
    "population": Subject(
        "Population",
        IMAGES,
        data_rows.population,
        {
            STARD: "20, characteristics of participants",
            TRIPOD: "20, characteristics of participants",
            CLEAR: "patients and skin types",
            ACT: "Article 13(3)(b)(v), groups of persons",
        },
    ),
    "classes": Subject("Classes", IMAGES, data_rows.classes, {CLEAR: "excluded classes"}),
    "split": Subject(
        "Split",
        IMAGES,
        data_rows.split,
        {TRIPOD: "12, use of the data", CLAIM: "partitions", CLEAR: "independence of the test images"},
    ),
    "accuracy": Subject(
        "Accuracy",
        FIGURES,
        performance_rows.accuracy,
        {
            STARD: "23 and 24, cross tabulation and estimates with intervals",
            TRIPOD: "23, performance with intervals",
            CLEAR: "performance of each class",
            ACT: "Article 13(3)(b)(ii), accuracy",
            CLAIM: "performance metrics",
        },
    ),
    "predictive_values": Subject(
        "Predictive values",
        FIGURES,
        performance_rows.predictive_values,
        {STARD: "predictive values at a stated prevalence"},
    ),
    "calibration": Subject(
        "Calibration",
        FIGURES,
        performance_rows.calibration,
        {TRIPOD: "12e and 23a, calibration"},
    ),
    "net_benefit": Subject("Net benefit", FIGURES, performance_rows.net_benefit, {TRIPOD: "12e, clinical utility"}),
    "subgroups": Subject(
        "Subgroups",
        FIGURES,
        performance_rows.subgroups,
        {
            CLEAR: "performance by skin type and other groups",
            TRIPOD: "14 and 23, fairness",
            ACT: "Article 13(3)(b)(v), performance for groups",
            FDA: "performance in subgroups",
        },
    ),
    "robustness": Subject(
        "Robustness",
        FIGURES,
        robustness_rows.robustness,
        {CLAIM: "robustness and external testing", ACT: "Article 15, robustness"},
    ),
    "uncertainty": Subject(
        "Uncertainty",
        FIGURES,
        robustness_rows.uncertainty,
        {MICLAIM: "uncertainty", FDA: "confidence and limits"},
    ),
    "failures": Subject(
        "Failures",
        FIGURES,
        robustness_rows.failures,
        {CLAIM: "failure analysis", DECIDE: "errors and malfunctions"},
    ),
    "comparison": Subject("Comparison", FIGURES, robustness_rows.comparison, {CLEAR: "benchmark"}),
    "logs": Subject("Logs", OPERATION, use_rows.logs, {ACT: "Articles 12 and 13(3)(f), logs"}),
    "complaints": Subject(
        "Harm and complaints",
        OPERATION,
        use_rows.complaints,
        {DECIDE: "adverse events", MDR: "Annex I, 23.4, reporting of incidents"},
    ),
}
"""By the key of the row in card.json."""
