"""Records the dataset and params of a results folder, so that an interrupted benchmark can resume without mixing datasets."""

import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from flatten_dict import flatten

from benchmarks.harness import machine
from components.core.errors import ParamsError
from components.runtime import renamed_params
from components.runtime.params_file import PARAMS_FILE, parse
from flows import workspace
from flows.processes import ROOT, CommandFailed

NAME = "asked"
OWN = "sample"
SHOWN = 5
"""Number of differences listed in the error message."""


@dataclass(frozen=True)
class BenchmarkRequest:
    """A requested benchmark. `source`: path of the dataset, None for the project's own; `dataset`: its identity; `params`: params.yaml
    with the overrides, without the import limits and what the benchmark sets itself: the seed and `split.redeal`."""

    dataset: str
    overrides: tuple[str, ...]
    notebook_epochs: int
    quick: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    machine: str = field(default_factory=machine.name)
    source: Path | None = None

    @classmethod
    def of(cls, source: Path | None, overrides: list[str], notebook_epochs: int, quick: bool = False) -> "BenchmarkRequest":
        """Identify the dataset: by the md5 in data.dvc for the project's own, by name, file count and size for another.

        Raises:
            SystemExit: the source does not exist, or the params are invalid.
        """
        asked = (tuple(overrides), notebook_epochs, quick, _params(overrides))
        if source is None:
            return cls(f"the project's own, md5 {_own_md5()}", *asked)
        if not source.exists():
            raise SystemExit(f"error: {source} does not exist")
        sizes = [path.stat().st_size for path in ([source] if source.is_file() else source.rglob("*")) if path.is_file()]
        dataset = f"{source.name}, {len(sizes)} files, {sum(sizes)} bytes"
        return cls(dataset, *asked, source=source.resolve())

    @property
    def name(self) -> str:
        """Default name of the results folder."""
        return "quick" if self.quick else self.source.stem if self.source else OWN

    def document(self) -> dict[str, Any]:
        """Convert to JSON; paths on this machine are removed, since they do not affect results and may be private."""
        overrides = [_basename_only(override) for override in self.overrides]
        return {**{name: value for name, value in asdict(self).items() if name != "source"}, "overrides": overrides}


def _basename_only(override: str) -> str:
    key, equals, value = override.partition("=")
    return f"{key}{equals}{Path(value).name if Path(value).is_absolute() else value}"


def _params(overrides: list[str]) -> dict[str, Any]:
    try:
        with TemporaryDirectory() as folder:
            path = Path(shutil.copy2(ROOT / PARAMS_FILE, folder))
            workspace.set_params(path, overrides)
            settings = parse(yaml.safe_load(path.read_text(encoding="utf-8")), "params.yaml with the overrides")
    except (CommandFailed, ParamsError) as fault:
        raise SystemExit(f"error: {fault}") from None
    backbone = {**settings.base.model_dump(mode="json"), "weights": Path(settings.base.weights).name}
    sections = settings.model_dump(mode="json", by_alias=True, exclude={"seed", "backbone", "backbones", "importing"})
    del sections["split"]["redeal"]
    return {"backbone": backbone, **sections}


def _own_md5() -> str:
    pointer = yaml.safe_load((ROOT / "data.dvc").read_text(encoding="utf-8"))
    return str(pointer["outs"][0]["md5"])


def claim_results_folder(asked: BenchmarkRequest, name: str, results: Path = machine.RESULTS) -> Path:
    """Return the results folder of this name and write the request to it.

    Raises:
        SystemExit: the folder contains results of a different request.
    """
    folder = results / name
    held = machine.read(NAME, folder)
    if differing := differences(held, asked.document()):
        shown = "; ".join(differing[:SHOWN] + [f"and {len(differing) - SHOWN} more"] * (len(differing) > SHOWN))
        raise SystemExit(f"error: {folder} contains other results ({shown}).\nUse another --name, or delete the folder to measure again.")
    machine.write(NAME, asked.document(), folder)
    return folder


def differences(held: dict[str, Any] | None, asked: dict[str, Any]) -> list[str]:
    """Differences between the request of existing results and the new one; old names of params count as their new names."""
    if held is None:
        return []
    before = {_with_new_name(name): value for name, value in flatten(held, reducer="dot").items()}
    before["overrides"] = [renamed_params.with_new_key(override) for override in held["overrides"]]
    now = flatten(asked, reducer="dot")
    return [f"{name}: {before.get(name)!r}, not {now.get(name)!r}" for name in now if before.get(name) != now[name]]


def _with_new_name(name: str) -> str:
    section, _, key = name.partition(".")
    new = renamed_params.new_name(key) if section == "params" else None
    return f"{section}.{new}" if new else name
