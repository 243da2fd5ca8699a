"""Finds the images of a source that data/ has already: those with the same ID of the ISIC Archive or the same bytes."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath

from app.data.archives import Member, Source, archive_errors
from app.data.conversion import PNG, convert, converted_format
from app.data.image_metadata import without_metadata
from app.data.plan import ImportPlan
from app.data.present import PresentDataset
from app.data.tables import FILE, ID
from components.core.errors import UnreadableImageError
from components.core.files import sha256
from components.core.paths import DATA

ARCHIVE_ID = re.compile(r"ISIC_\d{7}(?!\d)")


def find_present(opened: Source, members: Collection[Member], plan: ImportPlan, present: PresentDataset) -> dict[str, str]:
    """The path in data/ of each planned image that is there already, by member.

    Bytes are compared as the import would write them, so a file that is converted or loses its metadata is found too.

    Raises:
        LesionflowError: the source is corrupt.
    """
    by_id: dict[str, str] = {}
    for path, name in archive_ids(present.images, present.column(ID)).items():
        by_id.setdefault(name, path)
    given = {} if plan.metadata is None or ID not in plan.metadata else plan.metadata.set_index(FILE)[ID].dropna().to_dict()
    ids = archive_ids([plan.targets[member] for member in plan.levels], given)
    found = {member: by_id[name] for member in plan.levels if (name := ids.get(plan.targets[member], "")) in by_id}
    return found | _by_bytes(opened, members, {member: plan.targets[member] for member in plan.levels if member not in found}, present)


def archive_ids(paths: Collection[str], given: Mapping[str, str]) -> dict[str, str]:
    """The ID of the ISIC Archive of each image that has one, by path: the one that metadata.csv gives, or the one in its file name."""
    found = {}
    for path in paths:
        match = ARCHIVE_ID.match(given.get(path, "")) or ARCHIVE_ID.search(PurePosixPath(path).name)
        if match:
            found[path] = match.group()
    return found


def _by_bytes(opened: Source, members: Collection[Member], targets: Mapping[str, str], present: PresentDataset) -> dict[str, str]:
    paths = defaultdict(list)
    for path in present.images:
        paths[present.files[path]].append(path)
    sizes = {member.name: member.size for member in members}
    converted = {name: image_format for name, target in targets.items() if (image_format := converted_format(name, target))}
    known: dict[int, dict[str, str]] = {}
    found = {}
    has_png = any(path.lower().endswith(PNG) for path in present.images)
    wanted = [name for name, target in targets.items() if has_png or name not in converted or not target.endswith(PNG)]
    for name, size, digest in _digests(opened, wanted, sizes, converted):
        if size not in known:
            known[size] = {sha256(DATA / path): path for path in reversed(paths[size])} if size in paths else {}
        if digest in known[size]:
            found[name] = known[size][digest]
    return found


def _digests(
    opened: Source, wanted: Collection[str], sizes: Mapping[str, int], converted: Mapping[str, str]
) -> Iterator[tuple[str, int, str]]:
    """Name, size in bytes and sha256 of each member as the import writes it; without those that cannot be converted."""
    for name, stream in opened.contents(wanted):
        with archive_errors(opened.path, name):
            content = stream.read(sizes[name] + 1)
        try:
            stored = without_metadata(convert(content, converted[name]) if name in converted else content)
        except UnreadableImageError:
            continue  # the import refuses it with the reason
        yield name, len(stored), hashlib.sha256(stored).hexdigest()
