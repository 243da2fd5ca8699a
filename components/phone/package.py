"""Writes the package of a version for phones to a folder."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.core.errors import LesionflowError
from components.core.escaping import for_markdown, one_line
from components.core.files import atomic_write, sha256
from components.core.reports.candidate import Candidate
from components.phone.contract import CONTRACT, PhoneContract, VersionName, contract_of
from components.phone.metadata import Classifier, Labels, with_metadata
from components.serving.answers import Contract
from components.serving.contents import Contents

Names = Callable[[str], Mapping[str, str]]

HERE = Path(__file__).parent
EXAMPLE = "example.py"
README = "README.md"
EXPORT, CARD = "export/", "card/"
"""Folders of a version's artifacts."""
PREFIX, SUFFIX = "model_", ".tflite"
CANDIDATE = "candidate/candidate.json"
WITHOUT_NETWORKS = (
    "has no TFLite files, since an older release registered it. Export another version, or register this candidate again:"
    " `dvc repro --force --single-item register`"
)


def require_replaceable(target: Path) -> None:
    """Make sure that nothing of anybody's is lost if the folder is replaced: it is new, empty, or an earlier export that nobody changed.

    Raises:
        LesionflowError: it is not; the message names the file that stands in the way.
    """
    existing = next(path for path in (target, *target.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise LesionflowError(f"{existing} is a file. Name a folder, which may be new")
    if existing != target:
        return
    found = {path.relative_to(target).as_posix(): path for path in sorted(target.rglob("*")) if not path.is_dir()}
    if not found:
        return
    if CONTRACT not in found:
        raise LesionflowError(f"{target} is not empty, and no earlier export: it has no {CONTRACT}. Name a new folder")
    files = PhoneContract.read(found.pop(CONTRACT)).files
    for name, path in found.items():
        if path.is_symlink() or files.get(name) != sha256(path):
            raise LesionflowError(f"{target} has a file that no export wrote, or that was changed since: {name}. Name a new folder")


def write_package(target: Path, artifacts: Path, version: VersionName, names: Names) -> PhoneContract:
    """Write the package to a folder that `require_replaceable` allows; return its contract. Equal versions give equal bytes.

    Args:
        target: the folder; an earlier export there is replaced as a whole.
        artifacts: folder of the version's artifacts, with sha256.json, candidate/, export/ and, if it has one, card/.
        version: the version's name.
        names: function from a label set's name to its classes' names for people, by id.

    Raises:
        LesionflowError: the version has no TFLite files, or a file is missing or is not as it was registered.
        OSError: the folder cannot be written.
    """
    if not artifacts.joinpath(EXPORT).is_dir():
        raise LesionflowError(f"version {version.number} of {version.model} {WITHOUT_NETWORKS}")
    contents = Contents.of_folder(artifacts)
    contract, files = package(contents, version, names)
    with atomic_write(target.resolve()) as draft:
        for name, content in files.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        contract.write(draft / CONTRACT)
    return contract


def package(contents: Contents, version: VersionName, names: Names) -> tuple[PhoneContract, dict[str, bytes]]:
    """The contract of a version's package, and the content of its other files, by name."""
    networks = {name.removeprefix(EXPORT): contents.read(name) for name in sorted(contents.digests) if name.startswith(f"{EXPORT}{PREFIX}")}
    if not networks:
        raise LesionflowError(f"version {version.number} of {version.model} {WITHOUT_NETWORKS}")
    document = json.loads(contents.read(CANDIDATE))
    candidate = Candidate.model_validate(document)
    contract = contract_of(candidate, Contract.of_candidate(document), names(candidate.label_set.name), version)
    contract = contract.model_copy(update={"networks": {name: _sha256(content) for name, content in networks.items()}})
    files = _described_networks(contract, networks) | {EXAMPLE: (HERE / EXAMPLE).read_bytes(), README: _readme(contract)}
    files |= {labels.name: labels.content for labels in _labels(contract)}
    files |= _card(contents)
    return contract.model_copy(update={"files": {name: _sha256(content) for name, content in sorted(files.items())}}), files


def _card(contents: Contents) -> dict[str, bytes]:
    """The files of the model card, if the version has one; the predictor does not read them, so sha256.json need not list them."""
    paths = sorted(path for path in (contents.folder / CARD).rglob("*") if path.is_file())
    names = [path.relative_to(contents.folder).as_posix() for path in paths]
    return {name: contents.read(name) if name in contents else path.read_bytes() for name, path in zip(names, paths, strict=True)}


def _described_networks(contract: PhoneContract, networks: Mapping[str, bytes]) -> dict[str, bytes]:
    """The TFLite files with metadata."""
    version = contract.version
    about = Classifier(
        name=f"{version.model} version {version.number}",
        description=" ".join((f"Skin lesions, {len(contract.classes)} classes. {CONTRACT} has the whole contract.", *contract.limits)),
        version=version.number,
        size=contract.input.size,
        input=contract.input.preparation,
        output="Calibrated probability of each class. No threshold is applied.",
        labels=_labels(contract),
    )
    text = json.dumps(contract.model_dump(exclude={"files"}), indent=2, sort_keys=True)
    return {name: with_metadata(content, about, {CONTRACT: f"{text}\n".encode()}) for name, content in networks.items()}


def _labels(contract: PhoneContract) -> tuple[Labels, ...]:
    """labels.txt and labels-en.txt; a label is a line."""
    ids, names = (tuple(map(one_line, texts)) for texts in zip(*((entry.id, entry.name) for entry in contract.classes), strict=True))
    return Labels("labels.txt", ids), Labels("labels-en.txt", names, "en")


def _readme(contract: PhoneContract) -> bytes:
    environment = Environment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["markdown"] = for_markdown
    return environment.get_template(f"{README}.jinja").render(contract=contract).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
