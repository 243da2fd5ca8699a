"""Following an alias: what the process that asks may tell, and what becomes of it."""

import json
import time
from pathlib import Path

import pytest

from app.models.lookup import FoundVersion
from app.server import engine as engine_module
from app.server import following
from app.server.engine import Engine
from app.server.following import Follower
from app.server.settings import Settings
from app.server.version_cache import VersionCache
from components.core.errors import LesionflowError
from components.serving.answers import Contract
from components.serving.loading import ServedPredictor
from components.tracking.store import store_uri

ASKING = """
import json, pathlib, sys, time
lines = pathlib.Path(__file__).with_suffix(".txt")
told = 0
while True:
    for line in lines.read_text().splitlines()[told:]:
        told += 1
        if line == "end":
            lines.write_text(lines.read_text().replace("end", "ended"))
            sys.exit(1)
        if line != "ended":
            print(line, flush=True)
    time.sleep(0.02)
"""


class Asked:
    """The process that asks, as a script that tells what a test writes."""

    def __init__(self, folder: Path):
        self.script, self.lines = folder / "asking.py", folder / "asking.txt"
        self.script.write_text(ASKING)
        self.lines.write_text("")

    def tell(self, *messages):
        with self.lines.open("a") as stream:
            for message in messages:
                stream.write((message if isinstance(message, str) else json.dumps(message)) + "\n")


def version(folder: Path, number: str) -> dict:
    return {"number": number, "folder": str(folder / number), "warnings": []}


def load(found: FoundVersion, count: int) -> list[ServedPredictor]:
    if not found.folder.is_dir():
        raise LesionflowError(f"version {found.number} of {found.model} is damaged.")
    return [ServedPredictor(None, ValueError, Contract())] * count


@pytest.fixture
def asked(tmp_path, monkeypatch):
    asked = Asked(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(engine_module, "load_predictors", load)
    monkeypatch.setattr(following, "ASK", (str(asked.script),))
    monkeypatch.setattr(following, "FIRST_WAIT", 0.05)
    for number in "12":
        (tmp_path / number).mkdir()
    return asked


@pytest.fixture
def told(caplog):
    """What is logged, also after `log.configure` has cut the service's logger off from others."""
    following.LOG.addHandler(caplog.handler)
    yield caplog
    following.LOG.removeHandler(caplog.handler)


@pytest.fixture
def follower(tmp_path):
    made = []

    def make(version="champion"):
        settings = Settings(model="m", version=version, cache=tmp_path / "cache")
        made.append((Follower(settings, Engine(1, 0)), refusals := []))
        made[-1][0].load_first()
        made[-1][0].start(lambda: refusals.append(made[-1][0].refusal))
        return made[-1]

    yield make
    for one, _ in made:
        one.close()
        one._engine.close()


def until(condition):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited 10 s")


def number(one: Follower) -> str | None:
    return one._engine.loaded and one._engine.loaded.found.number


def test_moved_alias_is_followed(asked, follower, tmp_path):
    asked.tell(version(tmp_path, "1"))
    one, _ = follower()
    until(lambda: number(one) == "1")
    asked.tell(version(tmp_path, "2"))
    until(lambda: number(one) == "2")
    assert (one.state.problem, one.state.load_failures) == (None, 0)


def test_version_that_cannot_be_loaded_is_told_and_the_former_answers(asked, follower, tmp_path, told):
    asked.tell(version(tmp_path, "1"), version(tmp_path, "3"), version(tmp_path, "3"))
    one, _ = follower()
    until(lambda: one.state.failed)
    assert (number(one), one.state.problem, one.state.load_failures) == ("1", "version 3 cannot be loaded", 1)
    assert "version 3 of m is damaged. Version 1 goes on answering" in told.text
    asked.tell(version(tmp_path, "1"))
    until(lambda: one.state.problem is None)


def test_registry_that_does_not_answer_is_told_once(asked, follower, tmp_path, told):
    error = {"error": "MLflow's registry did not answer", "transient": True}
    asked.tell(version(tmp_path, "1"), error, error)
    one, refusals = follower()
    until(lambda: one.state.unreachable)
    answered = one.state.answered
    time.sleep(0.1)
    assert (number(one), one.state.problem, one.state.answered) == ("1", "the registry does not answer", answered)
    assert len({id(record) for record in told.records if "did not answer" in record.getMessage()}) == 1
    asked.tell(version(tmp_path, "1"))
    until(lambda: one.state.problem is None)
    assert (one.state.answered > answered, refusals) == (True, [])


def test_registry_without_the_version_is_refused(asked, follower):
    asked.tell({"error": "m has no champion", "transient": False})
    one, refusals = follower()
    until(lambda: refusals)
    assert one.refusal == "m has no champion"


def test_alias_that_is_removed_is_told_and_the_version_goes_on_answering(asked, follower, tmp_path):
    asked.tell(version(tmp_path, "1"), {"error": "m has no champion", "transient": False})
    one, refusals = follower()
    until(lambda: one.state.problem)
    assert (number(one), one.state.problem, refusals) == ("1", "the wanted version does not exist or cannot be fetched", [])
    asked.tell(version(tmp_path, "1"))
    until(lambda: one.state.problem is None)


def test_process_that_ended_is_started_again(asked, follower, tmp_path):
    asked.tell(version(tmp_path, "1"), "end")
    one, _ = follower()
    until(lambda: number(one) == "1" and one.state.unreachable)
    asked.tell(version(tmp_path, "2"))
    until(lambda: number(one) == "2")
    assert one.state.problem is None


def test_version_by_number_is_not_asked_for_again(asked, follower, tmp_path):
    asked.tell(version(tmp_path, "1"))
    one, _ = follower("1")
    until(lambda: number(one) == "1" and not one._thread.is_alive())
    assert one._child.poll() is not None


def test_fetched_version_answers_at_the_next_start_without_registry(asked, follower, tmp_path):
    cache = VersionCache.of(tmp_path / "cache", store_uri(), "m")
    (cache.folder / "5-abc").mkdir(parents=True)
    asked.tell({"number": "5", "folder": str(cache.folder / "5-abc"), "warnings": []})
    one, _ = follower()
    until(lambda: cache.last("champion"))
    one.close()
    asked.lines.write_text("")
    later, _ = follower()
    assert number(later) == "5"
    assert VersionCache.of(tmp_path / "cache", "https://other", "m").last("champion") is None


@pytest.mark.parametrize("content", ["", "[]", '{"champion": 3}', '{"champion": {"number": "1", "folder": "../../1"}}'])
def test_damaged_list_of_fetched_versions_is_ignored(tmp_path, content):
    cache = VersionCache.of(tmp_path, "uri", "a/../b")
    cache.folder.mkdir()
    assert cache.folder.parent == tmp_path
    (cache.folder / "last.json").write_text(content)
    assert cache.last("champion") is None
