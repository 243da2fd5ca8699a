"""What the API says about the version that answers, from its files."""

from pathlib import Path
from typing import Any

from app.server.engine import Loaded
from app.server.page.facts import read_facts
from components.serving.answers import Contract
from components.serving.loading import ARTIFACTS

CARD = "card/card.md"


def describe(loaded: Loaded) -> dict[str, Any]:
    """The version: its outputs, operating points and origin. What its files do not tell is null."""
    contract, facts = loaded.contract, read_facts(loaded.found.folder)
    return {
        "model": loaded.found.model,
        "version": loaded.found.number,
        "outputs": list(contract.outputs),
        "malignant": list(contract.malignant),
        "operating_points": {name: _point(contract, name) for name in contract.operating_points},
        "abstention_threshold": contract.abstention_threshold,
        "views": contract.views,
        "prevalence": contract.class_shares,
        "registered": facts.registered or None,
        "data_md5": facts.data_md5 or None,
        "test_images": facts.test_images,
        "warnings": list(loaded.found.warnings),
        "card": "/v1/card" if (loaded.found.folder / ARTIFACTS / CARD).exists() else None,
    }


def card_text(folder: Path) -> str | None:
    """The model card as Markdown; None if the version has none.

    Args:
        folder: of the version's logged model.
    """
    try:
        return (folder / ARTIFACTS / CARD).read_text(encoding="utf-8")
    except OSError:
        return None


def _point(contract: Contract, name: str) -> dict[str, float | None]:
    measured = contract.measured_points.get(name)
    return {
        "threshold": contract.operating_points[name],
        "sensitivity": measured.sensitivity if measured else None,
        "specificity": measured.specificity if measured else None,
    }
