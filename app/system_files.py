"""Recognizes files of an operating system or a network drive, which are never part of a person's images."""

from collections.abc import Sequence

SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found", "system volume information"})
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name is hidden or belongs to a system."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def is_system_file(parts: Sequence[str]) -> bool:
    """Whether a file is hidden or belongs to a system, by its folders and name."""
    return not parts or any(map(is_system_folder, parts[:-1])) or parts[-1].startswith(".") or parts[-1].lower() in SYSTEM_FILES
