"""What a folder of results was measured on, so that a benchmark that was stopped goes on, and never mixes two datasets."""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from benchmarks.harness import machine
from components.core.errors import SettingsError
from components.runtime.params_file import parse
from flows import workspace
from flows.processes import ROOT, CommandFailed

NAME = "asked"
OWN = "sample"
SHOWN = 5
"""Differences that a refusal names."""


@dataclass(frozen=True)
class Asked:
    """What is to be measured. `source` is where the dataset lies, None for the project's own; `dataset` says which it is. `params` are
    params.yaml's under the overrides, but for the seed and what only importing reads."""

    dataset: str
    overrides: tuple[str, ...]
    notebook_epochs: int
    quick: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    machine: str = field(default_factory=machine.name)
    source: Path | None = None

    @classmethod
    def of(cls, source: Path | None, overrides: list[str], notebook_epochs: int, quick: bool = False) -> "Asked":
        """Read what says which dataset it is: the pointer's md5 of the project's own, names and sizes of another.

        Raises:
            SystemExit: there is no such file or folder, or the params are not in order.
        """
        asked = (tuple(overrides), notebook_epochs, quick, _params(overrides))
        if source is None:
            return cls(f"the project's own, md5 {_own_md5()}", *asked)
        if not source.exists():
            raise SystemExit(f"error: there is no {source}")
        sizes = [path.stat().st_size for path in ([source] if source.is_file() else source.rglob("*")) if path.is_file()]
        dataset = f"{source.name}, {len(sizes)} files, {sum(sizes)} bytes"
        return cls(dataset, *asked, source=source.resolve())

    @property
    def name(self) -> str:
        """What the folder of results is called unless told otherwise."""
        return "quick" if self.quick else self.source.stem if self.source else OWN

    def document(self) -> dict[str, Any]:
        """As JSON holds it; where files lie on this machine makes no difference and is nobody's concern."""
        overrides = [_without_folder(override) for override in self.overrides]
        return {**{name: value for name, value in asdict(self).items() if name != "source"}, "overrides": overrides}


def _without_folder(override: str) -> str:
    key, equals, value = override.partition("=")
    return f"{key}{equals}{Path(value).name if Path(value).is_absolute() else value}"


def _params(overrides: list[str]) -> dict[str, Any]:
    try:
        with TemporaryDirectory() as folder:
            path = Path(shutil.copy2(ROOT / workspace.PARAMS, folder))
            workspace.set_params(path, overrides)
            settings = parse(yaml.safe_load(path.read_text(encoding="utf-8")), "params.yaml with the overrides")
    except (CommandFailed, SettingsError) as fault:
        raise SystemExit(f"error: {fault}") from None
    backbone = {**settings.base.model_dump(mode="json"), "weights": Path(settings.base.weights).name}
    knobs = settings.model_dump(mode="json", by_alias=True, exclude={"seed", "backbone", "backbones", "importing"})
    return {"backbone": backbone, **knobs}


def _own_md5() -> str:
    pointer = yaml.safe_load((ROOT / "data.dvc").read_text(encoding="utf-8"))
    return str(pointer["outs"][0]["md5"])


def claimed(asked: Asked, name: str, results: Path = machine.RESULTS) -> Path:
    """The folder of results of that name, which says from now on what it was measured on.

    Raises:
        SystemExit: it holds results of something else.
    """
    folder = results / name
    held = machine.read(NAME, folder)
    if differing := differences(held, asked.document()):
        told = "; ".join(differing[:SHOWN] + [f"and {len(differing) - SHOWN} more"] * (len(differing) > SHOWN))
        raise SystemExit(f"error: {folder} holds other results ({told}).\nGive another --name, or delete the folder to measure anew.")
    machine.write(NAME, asked.document(), folder)
    return folder


def differences(held: dict[str, Any] | None, asked: dict[str, Any]) -> list[str]:
    """What results that are there were measured on, where that is not what is asked for."""
    if held is None:
        return []
    before, now = dict(_flat(held)), dict(_flat(asked))
    return [f"{name}: {before.get(name)!r}, not {now.get(name)!r}" for name in now if before.get(name) != now[name]]


def _flat(document: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
