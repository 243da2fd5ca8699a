"""Plans how a source is added to the present dataset. Nothing is written."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from app.data.archives import Member, Source, archive_errors
from app.data.content import DatasetContent
from app.data.dataset_file import SOURCE, Description, describe
from app.data.members import LICENSES
from app.data.plan import ImportPlan
from app.data.present import PresentDataset, read_present
from app.data.present_images import find_present
from app.data.tables import FILE
from app.data.targets import place_beside
from components.core.errors import LesionflowError
from components.core.files import sha256
from components.core.paths import DATA
from components.data_quality.label_definitions import LabelDefinition, finest, fitting, fold


@dataclass(frozen=True)
class Addition:
    """What adding a source changes, and the dataset that comes of it."""

    plan: ImportPlan
    """Plan of the source alone."""
    present: PresentDataset
    there: dict[str, str]
    """Path in data/ of the source's images that are there already, by member."""
    targets: dict[str, str]
    """Path within data/ of the images that are added, by member."""
    description: Description
    """Description of the whole dataset."""
    content: DatasetContent
    """The whole dataset."""

    @property
    def renamed(self) -> list[tuple[str, str]]:
        """Planned and actual path of the added images whose name another image has."""
        planned = self.plan.targets
        return [(planned[member], target) for member, target in self.targets.items() if planned[member] != target]

    @property
    def counts(self) -> Counter[tuple[str, ...]]:
        """Images of the whole dataset by diagnosis; a diagnosis is its names, most specific first."""
        return _counts(self.present, self.plan, self.targets)


def plan_addition(
    opened: Source,
    members: Collection[Member],
    plan: ImportPlan,
    definitions: Mapping[str, LabelDefinition],
    source: str | None = None,
) -> Addition:
    """Plan the addition of a source to the present dataset.

    Args:
        opened: the source.
        members: its files.
        plan: its plan as if it were imported alone.
        definitions: the label sets of the project.
        source: its name for dataset.yaml; None uses that of the folder or archive.

    Raises:
        LesionflowError: there is no dataset, the source's images are of another type, or an image that is there already has another
            label.
    """
    plan, present = replace(plan, source=source or plan.source), read_present()
    _require_same_type(plan, present)
    there = find_present(opened, members, plan, present)
    _require_same_labels(there, plan, present, definitions)
    added = [member for member in plan.levels if member not in there]
    licenses = _new_licenses(opened, members, plan, present) if added else []
    targets = place_beside({member: plan.targets[member] for member in (*added, *licenses)}, present.files)
    images = {member: targets[member] for member in added}
    label_set = next(iter(fitting(_counts(present, plan, images), definitions)), None)
    description = present.described(finest(Counter(present.levels.values()), definitions)).joined(describe(plan), label_set)
    content = DatasetContent(
        targets=targets,
        metadata=_joined_metadata(present, plan, images, description),
        attribution=_joined_attribution(present.attribution, plan.attributions),
        description=description,
        kept=present.files,
    )
    return Addition(plan, present, there, images, description, content)


def _counts(present: PresentDataset, plan: ImportPlan, added: Collection[str]) -> Counter[tuple[str, ...]]:
    counts = Counter(levels for levels in present.levels.values() if levels)
    return counts + Counter(plan.levels[member] for member in added)


def _require_same_type(plan: ImportPlan, present: PresentDataset) -> None:
    if plan.image_type != present.image_type:
        raise LesionflowError(
            f"{plan.source} has {plan.image_type} images and {DATA}/ has {present.image_type} ones: types are not mixed. Import"
            f" {plan.source} without --add to replace the dataset or, if it has {present.image_type} images too, add these with"
            f" --image-type {present.image_type}; nothing was imported"
        )


def _require_same_labels(
    there: Mapping[str, str], plan: ImportPlan, present: PresentDataset, definitions: Mapping[str, LabelDefinition]
) -> None:
    """Raise if the source labels an image that is there already otherwise than data/ does. The labels are compared as classes of the
    label set that fits both best, and a label without a class contradicts nothing; without a label set, they are compared as names."""
    name = finest(_counts(present, plan, plan.levels), definitions)

    def differ(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
        if name is None:
            return fold(one[0]) != fold(other[0])
        classes = {definitions[name].class_of_levels(levels) for levels in (one, other)}
        return None not in classes and len(classes) > 1

    pairs = {(plan.levels[member], present.levels[path]) for member, path in there.items() if present.levels[path]}
    differing = {pair for pair in pairs if differ(*pair)}
    contradicting = [(member, path) for member, path in there.items() if (plan.levels[member], present.levels[path]) in differing]
    if contradicting:
        member, path = contradicting[0]
        compared = f"as classes of {name}" if name is not None else "by name, since no label set fits"
        raise LesionflowError(
            f"the labels of {len(contradicting)} images differ between {plan.source} and {DATA}/, first {member!r}:"
            f" {plan.levels[member][0]!r} in {plan.source}, {present.levels[path][0]!r} as {DATA}/{path} (compared {compared})."
            " Correct one of them; nothing was imported"
        )


def _new_licenses(opened: Source, members: Collection[Member], plan: ImportPlan, present: PresentDataset) -> list[str]:
    """The licenses of the source that data/ does not have with the same bytes."""
    names = [member for member in plan.targets if member not in plan.levels]
    sizes = {member.name: member.size for member in members}
    known = {sha256(DATA / path) for path in present.files if path.startswith(f"{LICENSES}/")}
    new = []
    for name, stream in opened.contents(names):
        with archive_errors(opened.path, name):
            content = stream.read(sizes[name] + 1)
        if hashlib.sha256(content).hexdigest() not in known:
            new.append(name)
    return new


def _joined_metadata(present: PresentDataset, plan: ImportPlan, images: Mapping[str, str], description: Description) -> pd.DataFrame:
    """The rows of both tables with the columns of both, and a row for each image without one; the column `source` names the source of
    each image."""
    name = str(description.sources[-1][SOURCE])
    moved = {plan.targets[member]: target for member, target in images.items()}
    own = pd.DataFrame({FILE: []}) if plan.metadata is None else plan.metadata[plan.metadata[FILE].isin(moved)]
    own = _with_all_images(own.assign(**{FILE: own[FILE].map(moved)}), images.values()).assign(**{SOURCE: name})
    before = _with_all_images(pd.DataFrame({FILE: []}) if present.metadata is None else present.metadata, present.images)
    if SOURCE not in before:
        before = before.assign(**{SOURCE: replace(description, sources=description.sources[:-1]).only_source})
    rows = pd.concat([before.astype("str"), own.fillna("").astype("str")], ignore_index=True).fillna("")
    return rows[[*(column for column in rows if column != SOURCE), SOURCE]]


def _with_all_images(rows: pd.DataFrame, images: Collection[str]) -> pd.DataFrame:
    """The rows, and one for each image that has none."""
    known = set(rows[FILE])
    others = pd.DataFrame({FILE: [name for name in images if name not in known]}, dtype="str")
    return pd.concat([rows, others], ignore_index=True).fillna("")


def _joined_attribution(present: bytes | None, own: Collection[bytes]) -> bytes | None:
    """The texts of both, without those that the present one contains."""
    texts = [present] if present is not None else []
    texts += [text for text in own if present is None or text.strip() not in present]
    return b"\n".join(texts) if texts else None
