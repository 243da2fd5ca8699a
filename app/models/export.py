"""Writes the package of a registered version for phones."""

from dataclasses import dataclass
from pathlib import Path

from app.models.champion import REGISTRY_ERROR, existing_version
from components.core.errors import LesionflowError
from components.core.paths import LABELS
from components.data_quality import label_definitions
from components.phone import package
from components.phone.contract import PhoneContract, VersionName
from components.registry import versions
from components.runtime import params_file
from components.runtime.stage import DISK_FULL
from components.serving import loading
from components.tracking import store


@dataclass(frozen=True)
class Exported:
    """What was written: `folder`, and the contract of the version."""

    folder: Path
    contract: PhoneContract

    @property
    def lines(self) -> list[str]:
        """What a person should know."""
        version = self.contract.version
        return [
            f"{version.model} version {version.number} was exported to {self.folder}: {', '.join(sorted(self.contract.networks))}",
            f"{self.folder / package.README} tells what an app must do; {self.folder / package.EXAMPLE} does it in Python",
        ]


def export_version(target: Path, wanted: str) -> Exported:
    """Write a version's package to a folder that is new, empty, or an earlier export.

    Args:
        target: the folder.
        wanted: an alias, as "champion", or a version number.

    Raises:
        LesionflowError: the folder may not be replaced or cannot be written, there is no such version, or it has no TFLite files.
    """
    package.require_replaceable(target)
    model = params_file.load().registration.registered_model
    client = store.connect()
    with store.mlflow_errors(REGISTRY_ERROR):
        if wanted == versions.CHAMPION and versions.version_by_alias(client, model, wanted) is None:
            raise LesionflowError(f"{model} has no champion: `lesionflow champion promote VERSION` makes one")
        version = existing_version(client, model, wanted)
    name = VersionName(model=model, number=str(version.version), run=str(version.run_id))
    try:
        return Exported(target, package.write_package(target, loading.download(version) / loading.ARTIFACTS, name, class_names))
    except OSError as fault:
        if fault.errno in DISK_FULL:
            raise
        raise LesionflowError(f"{target} cannot be written: {(fault.strerror or str(fault)).lower()}") from None


def class_names(label_set: str) -> dict[str, str]:
    """Titles of the classes of a label set, by id; empty if labels/ no longer has it."""
    path = LABELS / f"{label_set}.yaml"
    if not path.exists():
        return {}
    return {name: entry.title for name, entry in label_definitions.read_definition(path).classes.items()}
