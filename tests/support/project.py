"""A complete project in a temporary folder, built once with the real DVC from a few small synthetic images."""

import os
import shutil
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result
from filelock import FileLock

from app.cli import main
from app.data.pseudonyms import VARIABLE
from components.core.former_formats import MULTICLASS
from components.synthetic import dataset
from components.tracking.relocation import relocate

ROOT = Path(__file__).resolve().parents[2]

COPIED = (
    "components",
    "flows",
    "app",
    "labels",
    "splits",
    "utilities",
    "card.yaml",
    "dvc.yaml",
    "params.yaml",
    "decisions.csv",
    "prefect.yaml",
    "prefect.toml",
    ".dvcignore",
    ".gitignore",
    "mlruns/.gitignore",
)
COLLECTIONS = ("Graz", "Zürich (2019)")
"""Values of the metadata column `collection`, assigned to lesions in turn."""
SMALL = {
    "validate": {"min_images_per_class": 5},
    "images": {"resolution": 48},
    "augment": {"views_per_image": 2, "max_views_per_image": 2},
    "embed": {"max_views_per_image": 1},
    "train": {"epochs": 3},
    "finetune": {"epochs": 2, "unfreeze_from": "block_16"},
    "evaluate": {"bootstrap_resamples": 100},
    "serve": {"similar_pictures": [COLLECTIONS[0]]},
    "export": {"calibration_images": 10, "latency_runs": 5, "min_int8_agreement": 0.5, "min_float16_agreement": 0.9},
    "register": {"max_shift_drop": 1.0, "max_square_crop_drop": 1.0, "max_collection_drop": 1.0, "max_drop": 1.0}
    | dict.fromkeys(("min_test_groups", "min_critical_groups", "min_comparable_groups"), 1),
}

CHECKOUT = "Prüfung #1 [x] $^$ it's"
"""Name of the folder of a project, with special characters."""
WILD = ("Übergröße.jpg", "a b.jpg", "$^$.jpg", "[x].jpg", 'it\'s "new".jpg', "=1+1 #2 100%3F?.jpg", "<img src=x onerror=alert(1)>.jpg")
"""File names with special characters; the first image of each of the first seven classes is renamed to one of them."""
CLEARED_VARIABLES = ("MLFLOW_", "PREFECT_", "LESIONFLOW_", "PYTHONDONTWRITEBYTECODE", "NO_PROXY", "no_proxy")
"""Prefixes of variables that would change the behavior of a project, or its speed (PYTHONDONTWRITEBYTECODE)."""
KEPT_VARIABLES = (VARIABLE,)
"""The key file of pseudonyms, which is not the user's own in tests."""


DEAD_PROXY = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
"""Variables of a proxy at which nothing listens, so every request through it fails."""
NAMELESS = ("unshare", "--user", "--map-user=54321", "--map-group=54321")
"""Command prefix that runs a command as a user id without a name, with the file permissions of the current user."""


def nameless_or_skip() -> tuple[str, ...]:
    """Return NAMELESS; skip the test if this machine does not allow it."""
    if shutil.which(NAMELESS[0]) is None or subprocess.run([*NAMELESS, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let `unshare --user` map a user id")
    return NAMELESS


@dataclass(frozen=True)
class Project:
    """A checkout in a temporary folder."""

    root: Path

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; `stdout` of the result includes stderr."""
        result = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert result.returncode == 0 or not check, result.stdout
        return result

    def environment(self, **extra: str) -> dict[str, str]:
        variables = {name: value for name, value in os.environ.items() if not name.startswith(CLEARED_VARIABLES) or name in KEPT_VARIABLES}
        path = os.pathsep.join([str(Path(sys.executable).parent), variables.get("PATH", "")])
        return {**variables, "PATH": path, "PYTHONPATH": str(self.root), "NO_COLOR": "1", **extra}

    def lesionflow(self, command: str, *arguments: str) -> Result:
        """Run a command of `lesionflow` in this process, which has imported TensorFlow and MLflow already.

        The code is that of this repository, which the project has a copy of. At least one test runs each command as a process.
        """
        with chdir(self.root), mock.patch.dict(os.environ, self.environment(), clear=True):
            result = CliRunner().invoke(main.commands[command], arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def repro(self, *arguments: str, check: bool = True, **environment: str) -> str:
        return self.run("dvc", "repro", *arguments, check=check, **environment).stdout

    def stage(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a stage as dvc.yaml does, without a check of its exit code."""
        return self.run("python", "-m", f"components.{name}", check=False, **environment)

    def output_hashes(self, stage: str) -> dict[str, str]:
        """MD5 of each output of a stage in build/, as dvc.lock has them."""
        outs = yaml.safe_load((self.root / "dvc.lock").read_text(encoding="utf-8"))["stages"][stage]["outs"]
        return {out["path"]: out["md5"] for out in outs if out["path"].startswith("build/")}

    def set_params(self, changes: dict) -> None:
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
        for section, values in changes.items():
            params[section] = {**params[section], **values} if isinstance(values, dict) else values
        path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")

    def copy(self, target: Path, *, store: bool = False) -> "Project":
        """Copy the project with its DVC cache but without Prefect state; `store` copies the MLflow store too."""
        shutil.copytree(self.root, target, ignore=shutil.ignore_patterns(".prefect", *([] if store else ["mlruns"])))
        if store:
            relocate(target / "mlruns" / "mlflow.db")  # as the first command of a moved project does
        return Project(target)


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def make(root: Path) -> Project:
    """Create a project that was never run, with a small dataset tracked by DVC and committed to git."""
    weights = ROOT / "weights"
    if not weights.is_dir():
        pytest.fail("weights/ does not exist. Run `make data` to extract it from bundled/.")
    root.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, root / name)
    shutil.copytree(weights, root / "weights")
    checkout = Project(root)
    checkout.set_params(SMALL)
    dataset.write_dataset(root / "data", dict.fromkeys(MULTICLASS.outputs, 9), seed=11, size=72)
    metadata = pd.read_csv(root / "data/metadata.csv")
    metadata["collection"] = [COLLECTIONS[number % 2] for number in pd.factorize(metadata["lesion_id"])[0]]
    for number, wild_name in zip(metadata.groupby("diagnosis").head(1).index, WILD, strict=False):
        path = root / "data" / metadata.at[number, "filename"]
        metadata.at[number, "filename"] = path.rename(path.with_name(wild_name)).relative_to(root / "data").as_posix()
    metadata.to_csv(root / "data/metadata.csv", index=False)
    checkout.run("git", "init", "-q")
    checkout.run("dvc", "init", "-q")
    checkout.run("dvc", "add", "-q", "data", "weights")
    checkout.run("git", "add", "-A")
    checkout.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start")
    return checkout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The completed pipeline, run by the first pytest-xdist worker that needs it. Tests copy it and must not change it."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "built"
    root, completed = folder / CHECKOUT, folder / "done"
    with FileLock(folder.with_suffix(".lock")):
        if not completed.exists():
            shutil.rmtree(folder, ignore_errors=True)  # left by a worker that failed
            make(root).repro()
            completed.touch()
    return Project(root)


@pytest.fixture(scope="module")
def project(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the completed pipeline with its MLflow store, for the tests of one file."""
    return built.copy(tmp_path_factory.mktemp("project") / CHECKOUT, store=True)
