"""Makes the card of a version from its evidence."""

from components.core.reports.evaluation import Estimate
from components.registry.card.entries import named
from components.registry.card.model import Card, Head, Metric
from components.registry.card.rows import SUBJECTS
from components.registry.card.sources import Sources
from components.registry.card.use_rows import RESEARCH_ONLY

UNKNOWN_LICENSE = "unknown"
"""Identifier of Hugging Face."""
METRIC_TYPES = {"accuracy": "accuracy", "macro_f1": "f1", "macro_auc": "roc_auc"}
"""Names that Hugging Face has for figures; it takes others as they are."""
METRICS = (
    "balanced_accuracy",
    "accuracy",
    "macro_f1",
    "macro_auc",
    "critical_sensitivity",
    "malignant_sensitivity",
    "malignant_specificity",
)


def build_card(sources: Sources) -> Card:
    """The card of a version; equal evidence gives equal cards."""
    return Card(head=_head(sources), summary=_summary(sources), rows={key: subject.row(sources) for key, subject in SUBJECTS.items()})


def _head(sources: Sources) -> Head:
    label, test = sources.labels.metric_label, sources.evaluation.test
    figures: dict[str, Estimate | None] = {name: getattr(test, name) for name in METRICS}
    return Head(
        model=str(sources.measured.params.registration.get("registered_model", "lesionflow")),
        license=sources.statements.license or UNKNOWN_LICENSE,
        tags=("image-classification", "skin-lesion", *_image_types(sources), "research-only", "lesionflow"),
        dataset=f"{sources.labels.name}, {len(sources.labels.outputs)} classes",
        dataset_revision=sources.measured.data_md5,
        metrics=tuple(
            Metric(type=METRIC_TYPES.get(name, name), name=label(name), value=figure.value) for name, figure in figures.items() if figure
        ),
    )


def _image_types(sources: Sources) -> list[str]:
    described = sources.cohort.sources or () if sources.cohort else ()
    return sorted({source.image_type for source in described if source.image_type})


def _summary(sources: Sources) -> str:
    test, labels = sources.evaluation.test, sources.labels
    critical = ""
    if labels.critical and test.critical_sensitivity is not None:
        critical = f" Of the images of {named(labels.critical)}, it names {test.critical_sensitivity.value:.0%} as such."
    return (
        f"Names one of {len(labels.outputs)} diagnoses for an image of a skin lesion. Balanced accuracy on {test.images} test images:"
        f" {test.balanced_accuracy:.3f}.{critical} {RESEARCH_ONLY}"
    )
