"""A person decides in MLflow's own page, in a real Chromium, which version serves."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from components.registry.versions import version_by_alias
from components.tracking.store import EXPERIMENT
from tests.support.prefect import free_port, wait_for
from tests.support.project import ROOT, Project

pytestmark = pytest.mark.timeout(900)

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 60_000  # milliseconds: the page is large and the machine may be small


@pytest.fixture(scope="module")
def store(project: Project) -> str:
    """The tracking URI of a project in whose registry there are two versions: one candidate, evaluated in two ways."""
    project.set_params({"evaluate": {"bootstrap_resamples": 200}})
    project.repro()
    uri = f"sqlite:///{project.root / 'mlruns' / 'mlflow.db'}"
    assert len(_client(uri).search_model_versions("name = 'skin-lesion-mobilenetv2'")) == 2
    return uri


def _client(uri: str):
    from mlflow import MlflowClient

    return MlflowClient(uri, uri)


@pytest.fixture(scope="module")
def address(store: str) -> Iterator[str]:
    """Where `make ui` opened MLflow."""
    port = free_port()
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store}
    command = ["make", "--no-print-directory", "ui", f"UI_PORT={port}"]
    serving = subprocess.Popen(
        command, cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def answers() -> bool:
        assert serving.poll() is None, "make ui ended"
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_for("MLflow's page", answers, 120)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(serving.pid, signal.SIGTERM)
        serving.wait(30)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A page of Debian's Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        opened = browser.new_page(viewport={"width": 1500, "height": 1000})
        opened.set_default_timeout(PATIENCE)
        opened.pictures = tmp_path_factory.mktemp("pictures")
        yield opened
        browser.close()


def picture(page, name: str) -> None:
    page.screenshot(path=Path(page.pictures) / f"{name}.png")


def champion(project: Project) -> tuple[dict, str]:
    """What `lesionflow champion show` answers, and what it warns of."""
    done = subprocess.run(
        ["python", "-m", "app.cli", "champion", "show", "--format", "json"],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout), done.stderr


def test_moving_champion_in_the_page_decides_what_serves_and_is_noticed(project, store, address, page):
    client = _client(store)
    model = "skin-lesion-mobilenetv2"
    before, _ = champion(project)
    reigning = before["champion"]["version"] if before["champion"] else None
    versions = sorted(str(found.version) for found in client.search_model_versions(f"name = '{model}'"))
    chosen = next(version for version in versions if version != reigning)

    page.goto(f"{address}/#/models/{model}")
    page.get_by_text("diagnosis without a clinician").wait_for()
    page.get_by_role("link", name=f"Version {chosen}", exact=True).wait_for()
    picture(page, "model")
    page.get_by_role("link", name=f"Version {chosen}", exact=True).click()
    page.get_by_text("balanced accuracy").first.wait_for()
    page.get_by_text("gate.balanced_accuracy_floor").wait_for()
    page.get_by_title(re.compile("^(Add|Edit) aliases$")).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").fill("champion")
    page.keyboard.press("Enter")
    picture(page, "alias")
    dialog.get_by_role("button", name="Save aliases").click()
    wait_for("the alias to stand", lambda: (held := version_by_alias(client, model, "champion")) and str(held.version) == chosen, 30)
    page.get_by_title("champion", exact=True).first.wait_for()
    page.get_by_role("dialog").wait_for(state="hidden")
    picture(page, "version")

    now, warned = champion(project)
    assert now["champion"]["version"] == chosen
    assert now["noticed"]["before"] == reigning
    assert now["noticed"]["after"] == chosen
    assert "moved outside the gate" in warned
    again, silent = champion(project)
    assert again["noticed"] is None
    assert silent == ""

    image = next((project.root / "data/melanoma").iterdir())
    said = project.run("python", "-m", "app.cli", "predict", "--format", "json", str(image)).stdout
    assert json.loads(said[said.index("[\n") :])[0]["version"] == chosen


def test_runs_stand_side_by_side_with_curves_and_confusion_matrix(store, address, page):
    client = _client(store)
    experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
    versions = client.search_model_versions("name = 'skin-lesion-mobilenetv2'")
    runs = list(dict.fromkeys(version.run_id for version in versions))[:2]

    page.goto(f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART")
    for run in runs:
        page.get_by_text(client.get_run(run).info.run_name, exact=True).first.wait_for()
    page.get_by_placeholder("Search metric charts").fill("test/balanced_accuracy")
    page.get_by_text("test/balanced_accuracy", exact=True).first.wait_for()
    picture(page, "comparison")

    page.goto(f"{address}/#/runs/{runs[0]}")
    page.get_by_placeholder("Search metrics").fill("test/balanced_accuracy")
    page.get_by_role("link", name="test/balanced_accuracy", exact=True).wait_for()
    page.wait_for_url(f"**/experiments/{experiment}/runs/{runs[0]}*")  # the link in a flow run's summary leads to the run
    picture(page, "run")
    page.goto(f"{address}/#/experiments/{experiment}/runs/{runs[0]}/artifacts")
    page.get_by_text("evaluation", exact=True).first.click()
    page.get_by_text("confusion.png", exact=True).first.click()
    page.locator("img[src*='blob:'], img[src*='confusion']").first.wait_for()
    picture(page, "confusion")
