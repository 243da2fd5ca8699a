"""A version's tags: test figures with intervals, and the gate's verdict rule by rule.

The service reads them without pandas, which what is imported in functions needs.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.core.former_formats import FORMER_METRIC_NAMES, TASKS
from components.core.label_set import LabelSet
from components.core.reports.evaluation import Estimate, Subgroups, TestMetrics
from components.core.reports.registration import Rule
from components.registry import gate

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


NEVER_JUDGED = "never judged"
TAG_LIMIT = 5000
WORST_SUBGROUP = "worst_subgroup"
SEPARATOR, NONE = ", ", "none"
FORMER_RULE_NAME = re.compile(r"(?<=test )lesions$")
"""The end of the names of the rules that now end in `test groups`, in tags of older versions."""
INTERVAL = re.compile(r"(?P<value>[\d.]+) \[(?P<low>[\d.]+), (?P<high>[\d.]+)\]")
"""A figure in a tag, as `interval_text` writes it."""


def label_set_tags(labels: LabelSet) -> dict[str, str]:
    """What a version's outputs are and mean, as its tags, with the identity that versions are compared by."""
    return {
        "label_set": labels.name,
        "outputs": SEPARATOR.join(labels.outputs),
        "malignant": SEPARATOR.join(labels.malignant) or NONE,
        "critical_class": labels.critical or NONE,
        "label_set.sha256": labels.identity,
    }


def label_set_of(tags: Mapping[str, str]) -> LabelSet | None:
    """The label set as a version's tags hold it, also of versions that are tagged with a task; None if they do not tell."""
    if "outputs" not in tags:
        return TASKS.get(tags.get("task", ""))
    malignant, critical = tags.get("malignant", NONE), tags.get("critical_class", NONE)
    return LabelSet(
        name=tags.get("label_set", "unknown"),
        outputs=tuple(tags["outputs"].split(SEPARATOR)),
        malignant=() if malignant == NONE else tuple(malignant.split(SEPARATOR)),
        critical=None if critical == NONE else critical,
    )


def rules_of(tags: Mapping[str, str]) -> list[Rule]:
    """The gate's verdict as a version's tags hold it, rule by rule; empty where it was never judged."""
    held = {name.removeprefix("gate.").replace("_", " "): value for name, value in sorted(tags.items()) if name.startswith("gate.")}
    return [
        Rule(FORMER_RULE_NAME.sub("groups", name), value.startswith("passed: "), value.partition(": ")[2]) for name, value in held.items()
    ]


def gate_verdict(version: "ModelVersion") -> str:
    """The gate's verdict on a version, in a line."""
    if "gate" not in version.tags:
        return NEVER_JUDGED
    rules = rules_of(version.tags)
    return gate.verdict(rules) if rules else str(version.tags["gate"])


def metric_tags(test: TestMetrics) -> dict[str, str]:
    """The headline test figures of reports/evaluation.json as a version's tags."""
    from components.evaluation.predictions import HEADLINE_METRICS

    figures = test.figures
    return {f"test.{name}": interval_text(figures[name]) for name in HEADLINE_METRICS if name in figures}


def subgroup_tags(measured: Mapping[str, Subgroups]) -> dict[str, str]:
    """The worst subgroup and its balanced accuracy as a version's tag; none if no subgroup has figures."""
    from components.evaluation.subgroups import worst_subgroup

    worst = worst_subgroup(measured)
    return {} if worst is None else {WORST_SUBGROUP: f"{worst.name}: {interval_text(worst.balanced_accuracy)}"[:TAG_LIMIT]}


def figure_texts(tags: Mapping[str, str]) -> dict[str, str]:
    """The text of each headline test figure that a version's tags hold; versions of before have it under the figure's former name."""
    from components.evaluation.predictions import HEADLINE_METRICS

    former = {new: old for old, new in FORMER_METRIC_NAMES.items()}
    found = {name: tags.get(f"test.{name}", tags.get(f"test.{former.get(name, name)}")) for name in HEADLINE_METRICS}
    return {name: text for name, text in found.items() if text is not None}


def metrics_of(tags: Mapping[str, str]) -> dict[str, Estimate]:
    """The headline test figures as a version's tags hold them, with four decimals."""
    found = {name: INTERVAL.fullmatch(text) for name, text in figure_texts(tags).items()}
    return {name: Estimate(**{bound: float(text) for bound, text in match.groupdict().items()}) for name, match in found.items() if match}


def interval_text(estimate: Estimate) -> str:
    """A figure and its interval as a tag holds it."""
    return f"{estimate:.4f}"
