"""The folder a run works in: the project itself, locked by one run at a time, or a copy with other params or other data."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path

from components.core.escaping import sqlite_uri
from components.core.paths import UNFINISHED_SWAP
from components.runtime import locking, renamed_params
from components.runtime.locking import WorkspaceBusy as WorkspaceBusy
from flows.git_commands import git
from flows.processes import LESIONFLOW, ROOT, Command, CommandFailed, run_command

STATE = Path(".prefect")
COPY = STATE / "workspace"
UNFINISHED_CHECKOUT = Path(".dvc/tmp/lesionflow-checkout")


@contextmanager
def lock(patience: float, root: Path = ROOT) -> Iterator[int]:
    """Hold the workspace lock for this run; an import that was killed while it replaced data/ is rolled back first.

    Raises:
        WorkspaceBusy: another run or import still holds the lock after `patience` seconds; -1 waits without a limit.
    """
    with locking.held(patience, root) as descriptor:
        if (root / UNFINISHED_SWAP).exists():
            recover = Command([*LESIONFLOW, "data", "recover"], "data recover", inherited=(descriptor,))
            run_command(recover, print, locking.for_child(descriptor), root)
        yield descriptor


def copy_worktree(root: Path = ROOT, place: Path = COPY) -> Path:
    """Copy the project so that a run can change params.yaml and data.dvc; the copy shares DVC's cache, so cached stages do not run again.

    The copy contains all tracked and untracked files that git does not ignore, in their current state; changes from an earlier run are
    reset first. It is a git worktree, so git shows the same history as in the project.

    Args:
        root: folder of the project.
        place: path of the copy within the project.
    """
    target = root / place
    head = git("rev-parse", "HEAD", root=root)
    if not _is_worktree(target, root):
        shutil.rmtree(target, ignore_errors=True)
        git("worktree", "prune", root=root)
        git("worktree", "add", "--quiet", "--detach", "--no-checkout", str(target), head, root=root)
    git("reset", "--quiet", "--mixed", head, root=target)
    names = [name for name in _files(root) if (root / name).is_file()]
    for name in set(_files(target)) - set(names):
        (target / name).unlink(missing_ok=True)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    _share_cache(root, target)
    return target


def set_params_of_run(path: Path, overrides: list[str], promote: str) -> None:
    """Change the params of a copy of the workspace, and list the overrides in params.yaml itself, so that every later command sees them.

    Args:
        path: params.yaml of the copy.
        overrides: overrides in the format of DVC's --set-param.
        promote: value of register.promotion for this run; "params.yaml" does not change it. It does not count as an override.

    Raises:
        CommandFailed: same as for `set_params`.
    """
    import yaml

    set_params(path, overrides)
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params["overrides"] = overrides
    if promote != "params.yaml":
        params["register"] = {**params["register"], "promotion": promote}
    path.write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _is_worktree(target: Path, root: Path) -> bool:
    """Return whether `target` is a worktree of `root`: git stores absolute paths, which are outdated after a project was moved."""
    if not (target / ".git").is_file():
        return False
    folder = (target / ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    return Path(folder).is_dir() and Path(folder).is_relative_to(git("rev-parse", "--path-format=absolute", "--git-common-dir", root=root))


def set_params(path: Path, overrides: list[str]) -> None:
    """Change params like DVC's --set-param.

    Raises:
        CommandFailed: the file is not a YAML mapping, or an override is invalid or has the old name of a key.
    """
    import yaml
    from dvc.exceptions import InvalidArgumentError
    from dvc.utils.hydra import apply_overrides

    renamed = {key: new for key in map(renamed_params.override_key, overrides) if (new := renamed_params.new_name(key))}
    if renamed:
        raise CommandFailed(f"params override: {'; '.join(starmap(renamed_params.describe, renamed.items()))}")
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
    """Configure the copy's DVC to use the project's cache and remotes, whose paths may be relative to the project.

    Raises:
        CommandFailed: DVC's configuration is invalid.
    """
    from dvc.config import Config, ConfigError

    local = root / ".dvc" / "config.local"
    if local.exists():
        shutil.copy2(local, target / ".dvc" / "config.local")
    try:
        own = Config(root / ".dvc")
        cache = str((root / own["cache"].get("dir", ".dvc/cache")).resolve())
        with Config(target / ".dvc").edit("local") as copied:
            copied["cache"] |= {"dir": cache, "type": "reflink,hardlink,copy"}
            for name, remote in own.load_one("repo")["remote"].items():
                copied["remote"].setdefault(name, {})["url"] = str(remote["url"])
    except ConfigError as fault:
        raise CommandFailed(f"DVC's configuration is invalid: {fault}") from None


def mlflow_environment(root: Path) -> dict[str, str]:
    """Environment variables with which a command in `root` uses the project's MLflow store, even if `root` is a copy."""
    if root == ROOT:
        return {}
    own = {
        "MLFLOW_TRACKING_URI": sqlite_uri(ROOT / "mlruns" / "mlflow.db", root),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(ROOT / "mlruns" / "artifacts"),
    }
    return {name: value for name, value in own.items() if not os.environ.get(name)}
