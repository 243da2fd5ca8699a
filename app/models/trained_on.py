"""Tells which registered versions were trained, validated or tested on given images."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from app.models.champion import REGISTRY_ERROR
from components.core.errors import LesionflowError, first_line
from components.registry import evidence, versions
from components.runtime import params_file
from components.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SIDES = {"train": "trained", "validation": "validated", "test": "tested"}
"""What a version did with the images of each split."""


@dataclass(frozen=True)
class VersionUse:
    """How many of the images each split of a version has; None if the version has no recorded split."""

    version: str
    aliases: tuple[str, ...]
    sides: Counter[str] | None

    @property
    def name(self) -> str:
        """The number, with the aliases in parentheses."""
        return f"{self.version} ({', '.join(self.aliases)})" if self.aliases else self.version


def version_lines(pixels: Collection[str]) -> Iterator[str]:
    """Describe in lines which versions used images with these hashes of their pixels. A store that does not answer is a line too."""
    model = params_file.load().registration.registered_model
    if not store_exists():
        yield f"no version of {model} exists: there is no MLflow store yet"
        return
    try:
        uses = find_uses(model, pixels)
    except LesionflowError as fault:
        yield f"the versions that were trained with them could not be listed: {first_line(fault)}"
        return
    if not uses:
        yield f"no version of {model} exists"
        return
    fitted = [use for use in uses if use.sides and (use.sides["train"] or use.sides["validation"])]
    tested = [use for use in uses if use.sides and use not in fitted]
    unknown = [use for use in uses if use.sides is None]
    if fitted:
        yield f"versions of {model} that trained or validated on them:"
        yield from (f"  version {use.name}: {_sides(use)}" for use in fitted)
    elif not unknown:
        yield f"no version of {model} trained or validated on them"
    if tested:
        yield f"versions only tested on them: {', '.join(use.name for use in tested)}"
    if unknown:
        yield f"versions whose split is not recorded, so they may have: {', '.join(use.name for use in unknown)}"


def _sides(use: VersionUse) -> str:
    sides = use.sides or Counter()
    return ", ".join(f"{verb} on {sides[side]}" for side, verb in SIDES.items() if sides[side])


def store_exists() -> bool:
    """Whether there is a store to ask; a database file that does not exist would be created."""
    from sqlalchemy.engine import make_url

    uri = store.store_uri()
    if not uri.startswith("sqlite"):
        return True
    database = make_url(uri).database
    return bool(database) and Path(str(database)).is_file()


def find_uses(model: str, pixels: Collection[str]) -> list[VersionUse]:
    """How each version of the registered model used images with these hashes of their pixels, the oldest version first.

    Raises:
        LesionflowError: the store does not answer.
    """
    client = store.connect()
    with store.mlflow_errors(REGISTRY_ERROR):
        found = sorted(client.search_model_versions(f"name = '{model}'"), key=lambda version: int(version.version))
        aliases = dict(client.get_registered_model(model).aliases) if found else {}
        return [
            VersionUse(
                str(version.version),
                tuple(sorted(alias for alias, number in aliases.items() if str(number) == str(version.version))),
                _sides_with(client, version, pixels),
            )
            for version in found
        ]


def _sides_with(client: "MlflowClient", version: "ModelVersion", pixels: Collection[str]) -> Counter[str] | None:
    split = _recorded_split(client, version)
    return None if split is None else Counter(split.loc[split["pixels_sha256"].isin(pixels), "side"].tolist())


def _recorded_split(client: "MlflowClient", version: "ModelVersion") -> pd.DataFrame | None:
    """The split in a version's evidence; None if an older release registered it, or its evidence cannot be read or was changed."""
    if versions.EVIDENCE_TAG not in version.tags:
        return None
    try:
        return evidence.load_evidence(client, version, None).split
    except LesionflowError:
        return None
