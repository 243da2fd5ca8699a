"""Fixtures for all tests: small datasets and the params of the repository."""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import yaml

from app.data.pseudonyms import VARIABLE
from components.runtime.params import Settings
from components.runtime.params_file import parse
from tests.support.images import noise
from tests.support.labels import CLASSES
from tests.support.postgresql import postgresql
from tests.support.prefect import lab_project, prefect_lab
from tests.support.project import ROOT, built, project

__all__ = ["ROOT", "built", "lab_project", "postgresql", "prefect_lab", "project"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["DVC_NO_ANALYTICS"] = "1"  # otherwise each DVC command in a project of a test starts a process that reports it, and takes longer

LONGEST_FIRST = (
    "flows/test_watch_data.py",
    "flows/test_steps.py",
    "mlflow/test_served.py",
    "flows/test_lab.py",
    "pipeline/test_pipeline.py",
    "pipeline/test_cross_validation.py",
    "flows/test_sharing.py",
    "browser/test_mlflow_page.py",
    "browser/test_page.py",
    "mlflow/test_promotion_record.py",
    "unit/modeling/test_architectures.py",
    "mlflow/test_champion.py",
    "pipeline/test_killed_import.py",
    "unit/modeling/test_classifier.py",
    "mlflow/test_evidence.py",
    "unit/search/test_fold_finetuning.py",
    "unit/training/test_checkpoint.py",
    "unit/stages/test_finetune.py",
    "unit/training/test_feature_cache.py",
    "unit/training/test_loop.py",
    "server/test_start.py",
    "server/test_moving.py",
)
"""Files in the order in which the workers of pytest-xdist take them. The first makes the project that later ones copy (`built`) while
other workers run two that need none."""
SHOWN_LINES = 120
"""Last lines of a lab's log that a failed test shows."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the longest files to the front, so that all workers are busy to the end."""
    position = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: position.get(item.path, len(position)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the log of server and worker beside a flow test that failed."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("prefect_lab")
    if report.failed and lab is not None and lab.log.exists():
        lines = [line for line in lab.log.read_text(errors="replace").splitlines() if "uvicorn.access" not in line]
        report.sections.append((str(lab.log), "\n".join(lines[-SHOWN_LINES:])))
    return report


@pytest.fixture(scope="session", autouse=True)
def pseudonym_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The key file of pseudonyms, in place of the user's own."""
    path = tmp_path_factory.mktemp("settings") / "pseudonym.key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(path))
        yield path


@pytest.fixture
def params() -> dict:
    """The repository's params.yaml as a dict that tests may change."""
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def settings(params: dict) -> Settings:
    """The repository's settings."""
    return parse(params)


@pytest.fixture
def make_dataset() -> Callable[..., Path]:
    """Write a dataset of distinct smooth images: `images` in each of the nine class folders."""

    def make(folder: Path, images: int = 4, size: int = 64) -> Path:
        for number, name in enumerate(CLASSES):
            (folder / name).mkdir(parents=True)
            for image in range(images):
                noise(1000 * number + image, size).save(folder / name / f"{name}_{image}.png")
        return folder

    return make
