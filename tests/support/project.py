"""A whole project in a temporary folder, run once through the real DVC on a few small synthetic images."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from filelock import FileLock

from components.core.classes import CLASSES
from components.synthetic import dataset
from components.tracking.relocation import relocate

ROOT = Path(__file__).resolve().parents[2]

COPIED = (
    "components",
    "flows",
    "app",
    "dvc.yaml",
    "params.yaml",
    "decisions.csv",
    "prefect.yaml",
    "prefect.toml",
    ".dvcignore",
    ".gitignore",
    "mlruns/.gitignore",
)
SMALL = {
    "validate": {"min_images_per_class": 5},
    "images": {"resolution": 48},
    "augment": {"views_per_image": 2, "max_views_per_image": 2},
    "embed": {"max_views_per_image": 1},
    "train": {"epochs": 3},
    "finetune": {"epochs": 2, "unfreeze_from": "block_16"},
    "evaluate": {"bootstrap_resamples": 100},
    "export": {"calibration_images": 10, "latency_runs": 5},
    "register": {"max_shift_drop": 1.0, "max_square_crop_drop": 1.0, "max_collection_drop": 1.0, "max_drop": 1.0}
    | dict.fromkeys(("min_test_groups", "min_critical_groups"), 1),
}

COLLECTIONS = ("Graz", "Zürich (2019)")
"""Where the images are said to come from, lesion by lesion in turn."""
CHECKOUT = "Prüfung #1 [x] $^$ it's"
"""Name of the folder that a project is checked out in."""
WILD = ("Übergröße.jpg", "a b.jpg", "$^$.jpg", "[x].jpg", 'it\'s "new".jpg', "=1+1 #2 100%3F?.jpg", "<img src=x onerror=alert(1)>.jpg")
"""Names that the first image of each of as many classes has in place of its own."""
FOREIGN = ("MLFLOW_", "PREFECT_", "LESIONFLOW_", "PYTHONDONTWRITEBYTECODE", "NO_PROXY", "no_proxy")
"""Environment that would change what a project does; without byte code its every process would compile TensorFlow anew."""


DEAD_PROXY = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
"""Nothing listens there: whatever asks this proxy fails."""
NAMELESS = ("unshare", "--user", "--map-user=54321", "--map-group=54321")
"""Runs a command with a user id that has no name and the file permissions of the present user."""


def nameless_or_skip() -> tuple[str, ...]:
    """NAMELESS, where this machine allows it."""
    if shutil.which(NAMELESS[0]) is None or subprocess.run([*NAMELESS, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let `unshare --user` map a user id")
    return NAMELESS


@dataclass(frozen=True)
class Project:
    """A checkout in a folder of its own."""

    root: Path

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command there, output and errors together in `stdout`."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stdout
        return done

    def environment(self, **extra: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
        return {**kept, "PATH": path, "PYTHONPATH": str(self.root), "NO_COLOR": "1", **extra}

    def repro(self, *arguments: str, check: bool = True, **environment: str) -> str:
        return self.run("dvc", "repro", *arguments, check=check, **environment).stdout

    def stage(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a stage as dvc.yaml does, letting it fail."""
        return self.run("python", "-m", f"components.{name}", check=False, **environment)

    def set_params(self, changes: dict) -> None:
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
        for section, values in changes.items():
            params[section] = {**params[section], **values} if isinstance(values, dict) else values
        path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")

    def copy(self, target: Path, *, store: bool = False) -> "Project":
        """The same project, cache and all, for a test that spoils it; Prefect's state stays behind, and MLflow's `store` unless wanted."""
        shutil.copytree(self.root, target, ignore=shutil.ignore_patterns(".prefect", *([] if store else ["mlruns"])))
        if store:
            relocate(target / "mlruns" / "mlflow.db")  # what a project's first command does; a test may ask the store before that
        return Project(target)


def ran(output: str) -> list[str]:
    """Stages that a `dvc repro` ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def make(root: Path) -> Project:
    """A project that was never run, with a small dataset under DVC, committed to git."""
    weights = ROOT / "weights"
    if not weights.is_dir():
        pytest.fail("weights/ is not there: `make data` brings it from bundled/")
    root.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, root / name)
    shutil.copytree(weights, root / "weights")
    made = Project(root)
    made.set_params(SMALL)
    dataset.write_dataset(root / "data", dict.fromkeys(CLASSES, 9), seed=11, size=72)
    metadata = pd.read_csv(root / "data/metadata.csv")
    metadata["collection"] = [COLLECTIONS[number % 2] for number in pd.factorize(metadata["lesion_id"])[0]]
    for number, wild in zip(metadata.groupby("diagnosis").head(1).index, WILD, strict=False):
        plain = root / "data" / metadata.at[number, "filename"]
        metadata.at[number, "filename"] = plain.rename(plain.with_name(wild)).relative_to(root / "data").as_posix()
    metadata.to_csv(root / "data/metadata.csv", index=False)
    made.run("git", "init", "-q")
    made.run("dvc", "init", "-q")
    made.run("dvc", "add", "-q", "data", "weights")
    made.run("git", "add", "-A")
    made.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start")
    return made


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The pipeline, run to its end by the first worker of pytest-xdist that wants it; tests copy it and leave it as it is."""
    place = tmp_path_factory.getbasetemp()
    place = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "built"
    root, done = place / CHECKOUT, place / "done"
    with FileLock(place.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)  # of a worker whose attempt failed
            make(root).repro()
            done.touch()
    return Project(root)


@pytest.fixture(scope="module")
def project(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The pipeline, run to its end, with its MLflow store: a copy for the tests of one file."""
    return built.copy(tmp_path_factory.mktemp("project") / CHECKOUT, store=True)
