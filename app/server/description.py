"""What the API says about the version that answers, from its files."""

import json
import re
from pathlib import Path
from typing import Any

from app.server.engine import Loaded
from components.serving.answers import Contract
from components.serving.loading import ARTIFACTS

CARD, MEASURED, CLINIC = "card/card.md", "evidence/measured.json", "evidence/clinic.json"
"""Artifacts of a version; one that was registered by an older release lacks some."""
REGISTERED = re.compile(r"utc_time_created: '?(\d{4}-\d{2}-\d{2})")


def describe(loaded: Loaded) -> dict[str, Any]:
    """The version: its outputs, operating points and origin. What its files do not tell is null."""
    contract, artifacts = loaded.contract, loaded.found.folder / ARTIFACTS
    return {
        "model": loaded.found.model,
        "version": loaded.found.number,
        "outputs": list(contract.outputs),
        "malignant": list(contract.malignant),
        "operating_points": {name: _point(contract, name) for name in contract.operating_points},
        "abstention_threshold": contract.abstention_threshold,
        "views": contract.views,
        "prevalence": contract.class_shares,
        "registered": _registered(loaded.found.folder / "MLmodel"),
        "data_md5": _json(artifacts / MEASURED).get("data_md5"),
        "test_images": _json(artifacts / CLINIC).get("images"),
        "warnings": list(loaded.found.warnings),
        "card": "/v1/card" if (artifacts / CARD).exists() else None,
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


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _registered(path: Path) -> str | None:
    try:
        found = REGISTERED.search(path.read_text(encoding="utf-8"))
    except OSError:
        return None
    return found[1] if found else None
