"""Keys in place of the patient ids of a source: HMAC-SHA-256 under a secret that stays on this machine, outside git, DVC and MLflow."""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.core.errors import LesionflowError
from components.core.paths import DATA

VARIABLE = "LESIONFLOW_PSEUDONYM_KEY_FILE"
DEFAULT = Path("lesionflow/pseudonym.key")
"""The key file in the user's folder of settings."""
SECRET_BYTES = 32
DIGITS = 16
"""Hexadecimal digits of a key."""
PUBLIC_PATIENT = re.compile(r"IP_\d+")
"""Patients of the ISIC Archive, whose ids are pseudonyms that it has published."""
PATIENT_KEY = re.compile(rf"P_[0-9a-f]{{{DIGITS}}}")
DATASET_FILE = DATA / "dataset.yaml"


@dataclass(frozen=True)
class PseudonymKey:
    """The secret, the file that holds it, and whether the file was made just now."""

    secret: bytes
    path: Path
    is_new: bool

    @property
    def message(self) -> str:
        """What to tell the user about it."""
        if self.is_new:
            return (
                f"made the secret key that patient ids and file names are hashed with: {self.path}. Keep it and never share it: without it"
                " the next import gives the same patients other keys"
            )
        return f"patient ids and file names are hashed with the secret key in {self.path}"


def digest(secret: bytes, *parts: str) -> str:
    """The first DIGITS hexadecimal digits of the HMAC-SHA-256 of the parts, which zero bytes separate."""
    return hmac.new(secret, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:DIGITS]


def patient_key(secret: bytes, namespace: str, patient_id: str) -> str:
    """The key of a patient, the same in every import of the namespace: P_ and 16 hexadecimal digits."""
    return f"P_{digest(secret, namespace, patient_id)}"


def is_public(patient_id: str) -> bool:
    """Whether a patient's id is stored as it is: one of the ISIC Archive, or a key already."""
    return bool(PUBLIC_PATIENT.fullmatch(patient_id) or PATIENT_KEY.fullmatch(patient_id))


def stored_patient_ids(given: str, dataset: Path = DATASET_FILE) -> set[str]:
    """The ids that data/ may hold for a patient: the given one, and its key under each namespace that dataset.yaml names.

    Args:
        given: the patient's id in the source, or the one in data/.
        dataset: dataset.yaml.

    Raises:
        LesionflowError: the key file cannot be used, or dataset.yaml is not valid YAML.
    """
    given = given.strip()
    if is_public(given) or not dataset.exists() or (secret := _read(key_path())) is None:
        return {given}
    return {given, *(patient_key(secret, namespace, given) for namespace in _namespaces(dataset))}


def _namespaces(dataset: Path) -> set[str]:
    try:
        content = yaml.safe_load(dataset.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise LesionflowError(f"{dataset} is not valid YAML: {' '.join(str(fault).split())}") from None
    top = content if isinstance(content, dict) else {}
    sources = top.get("sources")
    entries = [top, *(sources if isinstance(sources, list) else [])]
    return {str(entry["namespace"]) for entry in entries if isinstance(entry, dict) and entry.get("namespace")}


def open_key() -> PseudonymKey:
    """The key of this machine; it is made if there is none.

    Raises:
        LesionflowError: the file is in this project, others can read it, it holds no key, or it cannot be made.
    """
    path = key_path()
    if (secret := _read(path)) is not None:
        return PseudonymKey(secret, path, is_new=False)
    try:
        is_new = _create(path)
    except OSError as fault:
        raise _refusal(path, f"cannot be made: {fault.strerror or fault}") from None
    secret = _read(path)
    assert secret is not None
    return PseudonymKey(secret, path, is_new)


def key_path() -> Path:
    """The key file: the one that LESIONFLOW_PSEUDONYM_KEY_FILE names, or ~/.config/lesionflow/pseudonym.key.

    Raises:
        LesionflowError: it is in this project, or this user has no home folder.
    """
    if given := os.environ.get(VARIABLE):
        path = Path(given)
    elif settings := os.environ.get("XDG_CONFIG_HOME"):
        path = Path(settings) / DEFAULT
    else:
        try:
            path = Path.home() / ".config" / DEFAULT
        except RuntimeError:
            raise LesionflowError(f"this user has no home folder for the key of patient ids. Set {VARIABLE} to a file.") from None
    if path.resolve().is_relative_to(_project()):
        raise _refusal(path, "is in this project, where git or DVC could publish it")
    return path


def _project() -> Path:
    here = Path.cwd().resolve()
    return next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)


def _read(path: Path) -> bytes | None:
    """The secret in a file; None if there is no such file."""
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as fault:
        raise _refusal(path, f"cannot be read: {getattr(fault, 'strerror', None) or 'it is not a key'}") from None
    if mode & 0o077:
        raise LesionflowError(f"the key file {path} can be read by other users. Run `chmod 600 {path}`; nothing was imported")
    with contextlib.suppress(ValueError):
        if len(secret := bytes.fromhex(text)) == SECRET_BYTES:
            return secret
    raise _refusal(path, f"does not hold {2 * SECRET_BYTES} hexadecimal digits. Restore it from a backup")


def _create(path: Path) -> bool:
    """Make the file with a new secret in one step; False if another process has made it first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as draft:  # mode 600
        draft.write(f"{secrets.token_hex(SECRET_BYTES)}\n")
        draft.flush()
        os.fsync(draft.fileno())
        try:
            path.hardlink_to(draft.name)
        except FileExistsError:
            return False
    return True


def _refusal(path: Path, reason: str) -> LesionflowError:
    return LesionflowError(
        f"the key file of patient ids, {path}, {reason}. Set {VARIABLE} to a file outside this project; nothing was imported"
    )
