"""Rows about use: what for, by whom, under whose eyes, and until when."""

from components.registry.card.entries import OLDER, Contents, given, not_measured, stated
from components.registry.card.model import Entry
from components.registry.card.sources import Sources

RESEARCH_ONLY = "This is research software. It is not a medical device, and its output is not a diagnosis."
REGULATION = (
    "Software that is used to manage a patient is a medical device under Regulation (EU) 2017/745 (MDR), also if it is called research"
    " software and if the hospital made it itself (Article 5(5))"
)


def intended_use(sources: Sources) -> Contents:
    """What for, for whom, where, and what not for."""
    statements = sources.statements
    return Contents(
        {
            "intended_use": stated("Intended use", statements.intended_use),
            "users": stated("Users", statements.users),
            "setting": stated("Setting", statements.setting),
            "not_for": stated("Not for", statements.not_for),
            "research_only": given("Research only", RESEARCH_ONLY),
            "regulation": given("Regulation", REGULATION),
        }
    )


def oversight(sources: Sources) -> Contents:
    """Who decides, and what protects from following a wrong answer."""
    return Contents(
        {
            "decision": given("Who decides", "a person, who has seen the lesion"),
            "automation_bias": given(
                "Own impression first",
                "write down what you think before you read the answer: people follow wrong answers too, experienced ones included, and"
                " neither a warning nor a map prevents it",
            ),
            "abstention": given("No answer", "is no all-clear, and neither is an answer below an operating point"),
            "who": stated("Who oversees it", sources.statements.human_oversight),
        }
    )


def logs(sources: Sources) -> Contents:
    """What is kept of each answer."""
    del sources
    return Contents(
        {
            "predict": given("The command lesionflow predict", "keeps neither images nor answers"),
            "registry": given("Which version served when", "MLflow's experiment promotions holds every change of the champion"),
        }
    )


def stopping(sources: Sources) -> Contents:
    """When to stop using it, how long it is meant to be used, and what will change."""
    statements = sources.statements
    return Contents(
        {
            "other_images": given("Stop if images are of another kind", "from other cameras, or not what it was trained on (see Input)"),
            "other_diagnoses": given("Stop if other diagnoses occur", "it never names them (see Classes)"),
            **_monitored(sources),
            "missed_cancer": given("Stop after a missed cancer", "if one was not flagged, until the reason is known"),
            "stop_when": stated("Further conditions", statements.stop_when),
            "lifetime": stated("Expected lifetime and changes", statements.lifetime),
            "changes": given("A version never changes", "a new training makes a new version with a card of its own"),
        }
    )


def _monitored(sources: Sources) -> dict[str, Entry]:
    """Shares that are to be watched in use, as they were on test."""
    clinic, abstention = sources.clinic, sources.evaluation.abstention
    labels = {
        "prevalence": "Stop if cancers are rarer or more frequent",
        "flagged": "Stop if the share flagged at triage changes",
        "abstained": "Stop if the share without an answer grows",
    }
    unknown = OLDER if clinic is None else "the label set does not tell malignant from benign"
    entries = {name: not_measured(labels[name], unknown) for name in ("prevalence", "flagged")}
    entries["abstained"] = not_measured(labels["abstained"], "the version always answers")
    if clinic and clinic.malignant_share is not None:
        text = f"{clinic.malignant_share:.0%} of the test images are malignant; elsewhere, probabilities and predictive values are others"
        entries["prevalence"] = given(labels["prevalence"], text)
    if clinic and (triage := clinic.operating_points.get("triage")):
        text = f"{triage.flagged.low:.0%} to {triage.flagged.high:.0%} of the test images were flagged, at their share of cancers"
        entries["flagged"] = given(labels["flagged"], text)
    if abstention:
        entries["abstained"] = given(labels["abstained"], f"it was {abstention.share.value:.0%} on test")
    return entries


def complaints(sources: Sources) -> Contents:
    """Where harm and complaints go."""
    return Contents(
        {
            "contact": stated("Report harm and complaints to", sources.statements.contact),
            "incidents": given("Serious incidents", "with a device go to the national authority too (MDR, Article 87)"),
        }
    )
