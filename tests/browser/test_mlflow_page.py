"""The MLflow page in a real Chromium: moving the champion alias and comparing runs."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from components.core.paths import EVALUATION
from components.core.reports.evaluation import Evaluation
from components.registry.versions import version_by_alias
from components.tracking.store import EXPERIMENT
from flows.processes import free_port
from tests.support.chromium import chromium
from tests.support.prefect import wait_for
from tests.support.project import ROOT, Project

pytestmark = pytest.mark.timeout(900)

TIMEOUT_MS = 60_000  # milliseconds; the page is large and loads slowly on small machines


@pytest.fixture(scope="module")
def store(project: Project) -> str:
    """The tracking URI of a project with two versions of one candidate, whose evaluations differ."""
    evaluation = Evaluation.read(project.root / EVALUATION)
    evaluation.model_copy(update={"temperature": evaluation.temperature + 0.01}).write(project.root / EVALUATION)
    registered = project.stage("register")
    assert registered.returncode == 0, registered.stdout
    uri = f"sqlite:///{project.root / 'mlruns' / 'mlflow.db'}"
    assert len(_client(uri).search_model_versions("name = 'skin-lesion-mobilenetv2'")) == 2
    return uri


def _client(uri: str):
    from mlflow import MlflowClient

    return MlflowClient(uri, uri)


@pytest.fixture(scope="module")
def address(store: str) -> Iterator[str]:
    """The address of the MLflow page that `make ui` serves."""
    port = free_port()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store}
    command = ["make", "--no-print-directory", "ui", f"UI_PORT={port}"]
    server = subprocess.Popen(
        command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def answers() -> bool:
        assert server.poll() is None, "make ui has ended"
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_for("MLflow's page", answers, 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A page in Chromium, as Debian installs it."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(TIMEOUT_MS)
        page.screenshot_folder = tmp_path_factory.mktemp("screenshots")
        yield page


def screenshot(page, name: str) -> None:
    page.screenshot(path=Path(page.screenshot_folder) / f"{name}.png")


def champion(project: Project) -> tuple[dict, str]:
    """The JSON and the warning of `lesionflow champion show`."""
    result = project.lesionflow("champion", "show", "--format", "json")
    return json.loads(result.stdout), result.stderr


def test_moving_champion_alias_in_page_changes_served_version(project, store, address, page):
    client = _client(store)
    model = "skin-lesion-mobilenetv2"
    before, _ = champion(project)
    former_champion = before["champion"]["version"] if before["champion"] else None
    versions = sorted(str(version.version) for version in client.search_model_versions(f"name = '{model}'"))
    new_champion = next(version for version in versions if version != former_champion)

    page.goto(f"{address}/#/models/{model}")
    page.get_by_text("diagnosis without a clinician").wait_for()
    page.get_by_role("link", name=f"Version {new_champion}", exact=True).wait_for()
    screenshot(page, "model")
    page.get_by_role("link", name=f"Version {new_champion}", exact=True).click()
    page.get_by_text("balanced accuracy").first.wait_for()
    page.get_by_text("gate.balanced_accuracy_floor").wait_for()
    page.get_by_title(re.compile("^(Add|Edit) aliases$")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").fill("champion")
    page.keyboard.press("Enter")
    screenshot(page, "alias")
    dialog.get_by_role("button", name="Save aliases").click()
    wait_for(
        "the alias to move", lambda: (version := version_by_alias(client, model, "champion")) and str(version.version) == new_champion, 30
    )
    page.get_by_title("champion", exact=True).first.wait_for()
    page.get_by_role("dialog").wait_for(state="hidden")
    screenshot(page, "version")

    after, warning = champion(project)
    assert after["champion"]["version"] == new_champion
    assert after["noticed"]["before"] == former_champion
    assert after["noticed"]["after"] == new_champion
    assert "moved outside the gate" in warning
    second, second_warning = champion(project)
    assert second["noticed"] is None
    assert second_warning == ""

    image = next((project.root / "data/melanoma").iterdir())
    output = project.run("python", "-m", "app.cli", "predict", "--format", "json", str(image), check=False).stdout
    assert json.loads(output[output.index("[\n") :])[0]["version"] == new_champion


def test_page_compares_runs_and_shows_confusion_matrix(store, address, page):
    client = _client(store)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    versions = client.search_model_versions("name = 'skin-lesion-mobilenetv2'")
    runs = list(dict.fromkeys(version.run_id for version in versions))[:2]

    page.goto(f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART")
    for run in runs:
        page.get_by_text(client.get_run(run).info.run_name, exact=True).first.wait_for()
    page.get_by_placeholder("Search metric charts").fill("test/balanced_accuracy")
    page.get_by_text("test/balanced_accuracy", exact=True).first.wait_for()
    screenshot(page, "comparison")

    page.goto(f"{address}/#/runs/{runs[0]}")
    page.get_by_placeholder("Search metrics").fill("test/balanced_accuracy")
    page.get_by_role("link", name="test/balanced_accuracy", exact=True).wait_for()
    page.wait_for_url(f"**/experiments/{experiment}/runs/{runs[0]}*")  # the link in the summary of a flow run leads here
    screenshot(page, "run")
    page.goto(f"{address}/#/experiments/{experiment}/runs/{runs[0]}/artifacts")
    page.get_by_text("evaluation", exact=True).first.click()
    page.get_by_text("confusion.png", exact=True).first.click()
    page.locator("img[src*='blob:'], img[src*='confusion']").first.wait_for()
    screenshot(page, "confusion")
