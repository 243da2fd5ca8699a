"""The folder a run works in: the project itself, held by one run at a time, or a copy of it with other params or other data."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.core.escaping import sqlite_uri
from components.runtime import locking
from components.runtime.locking import Busy as Busy
from flows.dvc import dvc
from flows.git import git
from flows.processes import LESIONFLOW, ROOT, CommandFailed, execute

STATE = Path(".prefect")
COPY = STATE / "workspace"
POINTER = Path("data.dvc")
PARAMS = Path("params.yaml")
UNFINISHED_CHECKOUT = Path(".dvc/tmp/lesionflow-checkout")
UNFINISHED_SWAP = Path(".data.importing/swap.json")


@contextmanager
def held(patience: float, root: Path = ROOT) -> Iterator[int]:
    """Hold the project's lock for this run, with data/ whole: an import that was killed while it replaced data/ is undone first.

    Raises:
        Busy: another run or import still holds it after `patience` seconds; -1 waits as long as it takes.
    """
    with locking.held(patience, root) as descriptor:
        if (root / UNFINISHED_SWAP).exists():
            execute(
                [*LESIONFLOW, "data", "recover"], print, locking.for_child(descriptor), root, what="data recover", inherited=(descriptor,)
            )
        yield descriptor


def copy(root: Path = ROOT, place: Path = COPY) -> Path:
    """A copy of the project in which a run may change params.yaml and data.dvc; DVC's cache is shared, so nothing is made twice.

    The copy holds what git tracks and what it would add, as it is in the project now, and what an earlier run left is put
    right first. It is a git worktree, so commits and differences read as in the project.

    Args:
        root: the project.
        place: where in it the copy stands.
    """
    target = root / place
    head = git("rev-parse", "HEAD", root=root)
    if not _is_worktree(target, root):
        shutil.rmtree(target, ignore_errors=True)
        git("worktree", "prune", root=root)
        git("worktree", "add", "--quiet", "--detach", "--no-checkout", str(target), head, root=root)
    git("reset", "--quiet", "--mixed", head, root=target)
    wanted = [name for name in _files(root) if (root / name).is_file()]
    for name in set(_files(target)) - set(wanted):
        (target / name).unlink(missing_ok=True)
    for name in wanted:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    _share_cache(root, target)
    return target


def set_params_of_run(path: Path, overrides: list[str], promote: str) -> None:
    """Change the params of a copy of the workspace, and list the overrides in the file itself, where no later command can miss them.

    Args:
        path: params.yaml of the copy.
        overrides: as DVC's --set-param takes them.
        promote: the value of register.promote for this run; "params.yaml" leaves it as it is. It does not count as an override.

    Raises:
        CommandFailed: as `set_params`.
    """
    import yaml

    set_params(path, overrides)
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["overrides"] = overrides
    if promote != "params.yaml":
        params["register"] = {**params["register"], "promote": promote}
    path.write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _is_worktree(target: Path, root: Path) -> bool:
    """Whether `target` is a worktree of `root` itself: git names both by absolute path, which a moved or copied project outdates."""
    if not (target / ".git").is_file():
        return False
    folder = (target / ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    return Path(folder).is_dir() and Path(folder).is_relative_to(git("rev-parse", "--path-format=absolute", "--git-common-dir", root=root))


def set_params(path: Path, overrides: list[str]) -> None:
    """Change params as DVC's own --set-param does.

    Raises:
        CommandFailed: the file is no YAML mapping; an override names no param, or is none.
    """
    import yaml
    from dvc.exceptions import InvalidArgumentError
    from dvc.utils.hydra import apply_overrides

    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise CommandFailed(f"{path.name} is not valid YAML: {fault}") from None
    if not isinstance(params, dict):
        raise CommandFailed(f"{path.name} must be a mapping of sections, found {type(params).__name__}")
    try:
        apply_overrides(path, overrides)
    except InvalidArgumentError as fault:
        raise CommandFailed(f"params override: {fault.__cause__ or fault}") from None


def _files(root: Path) -> list[str]:
    return [name for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard", root=root).split("\0") if name]


def _share_cache(root: Path, target: Path) -> None:
    """Point the copy's DVC at the project's cache and remotes, whose paths may be relative to the project."""
    local = root / ".dvc" / "config.local"
    if local.exists():
        shutil.copy2(local, target / ".dvc" / "config.local")
    cache = dvc(["cache", "dir"], _unheard, root=root)[-1]
    dvc(["config", "--local", "cache.dir", str((root / cache).resolve())], _unheard, root=target)
    dvc(["config", "--local", "cache.type", "reflink,hardlink,copy"], _unheard, root=target)
    for line in dvc(["config", "--list", "--project"], _unheard, root=root):
        key, _, value = line.partition("=")
        if key.startswith("remote.") and key.endswith(".url"):
            dvc(["config", "--local", key, value], _unheard, root=target)


def _unheard(_line: str) -> None:
    """What DVC says of its configuration is for nobody."""


def store(root: Path) -> dict[str, str]:
    """Environment in which a command run in `root` uses the project's MLflow store, also where `root` is a copy."""
    if root == ROOT:
        return {}
    own = {
        "MLFLOW_TRACKING_URI": sqlite_uri(ROOT / "mlruns" / "mlflow.db", root),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(ROOT / "mlruns" / "artifacts"),
    }
    return {name: value for name, value in own.items() if not os.environ.get(name)}
