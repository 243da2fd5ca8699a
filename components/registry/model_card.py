"""What people read about the model and about a version."""

from collections.abc import Mapping

from components.core.escaping import for_markdown
from components.core.label_set import LabelSet, metric_label
from components.core.markdown import table
from components.registry.version_tags import NEVER_JUDGED, WORST_SUBGROUP, label_set_of, metrics_of, rules_of

MODEL_DESCRIPTION = """Skin-lesion classifier over dermoscopy images, trained by Lesionflow.

**For**: research, and drawing a clinician's attention to lesions that merit a closer look.
**Not for**: diagnosis without a clinician, clinical photographs without a dermoscope, or skin and devices it was not measured on.

`champion` is the version that serves; `challenger` is the newest candidate. A version's description and tags hold its test
figures with 95 % intervals, the gate's verdict rule by rule, and the hashes of the data it came from; its source run holds the
curves and the confusion matrix, its logged model the evidence: test predictions, reports and split. Features of the training
images leave with a version, without path, patient or lesion; pictures only of the collections in `serve.similar_pictures`.
Move `champion` with `lesionflow champion promote VERSION`, which applies the gate, or here; the experiment `promotions` keeps
every change."""


def version_description(tags: Mapping[str, str]) -> str:
    """A version in Markdown for MLflow's page: phase, figures, worst subgroup, verdict, dataset."""
    figures, labels = metrics_of(tags), label_set_of(tags)
    critical = labels.critical if labels else None
    rows = [[metric_label(name, critical), f"{row.value:.4f}", f"{row.low:.4f} to {row.high:.4f}"] for name, row in figures.items()]
    rules = [f"- {'passed' if rule.passed else '**FAILED**'} {rule.name}: {for_markdown(rule.says)}" for rule in rules_of(tags)]
    against = tags.get("judged.against", "none")
    held = "with no champion to beat" if against == "none" else f"against version {against}"
    judged = f"Gate: **{tags['gate']}** {held}, {tags['judged.at']}" if "judged.at" in tags else f"Gate: **{NEVER_JUDGED}**"
    worst = [f"Worst subgroup by balanced accuracy: {for_markdown(tags[WORST_SUBGROUP])}", ""] if WORST_SUBGROUP in tags else []
    phase, data = (tags.get(name, "unknown") for name in ("phase", "data.md5"))
    return "\n".join(
        [
            f"Phase: {phase}. Dataset: `{data}`.",
            "",
            _outputs(labels),
            "",
            *([table(["test figure", "value", "95 % interval"], rows), ""] if rows else []),
            *worst,
            judged,
            "",
            *rules,
        ]
    ).rstrip()


def _outputs(labels: LabelSet | None) -> str:
    """What the version predicts, and what its label set does not tell."""
    if labels is None:
        return "Label set: unknown."
    malignant = ", ".join(labels.malignant) or "none, so the figures do not tell malignant from benign"
    critical = labels.critical or "none, so no sensitivity is guarded"
    listed = f"Label set: {labels.name}. Classes: {', '.join(labels.outputs)}. Malignant: {malignant}. Critical class: {critical}."
    return for_markdown(listed.replace("_", " "))
