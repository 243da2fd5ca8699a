"""Identities of what is kept on disk: it is used again only while everything that decides it is the same."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any


def sha256_of(described: Mapping[str, Any]) -> str:
    """Hex sha256 of values that JSON can hold."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def code_sha256(*packages: ModuleType) -> str:
    """Hex sha256 of the modules of packages."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(Path(package.__path__[0]).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
