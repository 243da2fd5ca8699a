"""Searches that share a study on PostgreSQL, each in a folder of its own, as on two machines."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import psycopg2
import pytest
from optuna.trial import TrialState

from components.core.errors import ServiceUnavailable
from components.search.levels import head_level
from components.search.study import open_study, search
from components.search.study_database import VARIABLE, require_database
from tests.support.project import ROOT
from tests.unit.search.test_study import tuned, value_of

pytestmark = pytest.mark.postgresql
TRIALS = 12
SECONDS = 240
"""In which a search must end."""
SEARCH = """
    import sys, time
    from components.search import study_database
    from components.search.levels import head_level
    from components.search.study import open_study, search
    study_database.HEARTBEAT, study_database.GRACE = 1, 3
    sys.path.insert(0, {tests!r})
    from tests.unit.search.test_study import tuned, value_of
    name, seconds, trials = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    settings = tuned(trials=trials)
    study = open_study(name, settings, head_level(settings))

    def objective(trial, tried):
        print("trial", trial.number, flush=True)
        time.sleep(seconds)
        return value_of(tried)

    search(study, settings, objective, lambda trial: print("ended", trial.number, flush=True), head_level(settings))
"""


@pytest.fixture
def url(postgresql: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The URL of the database, also in LESIONFLOW_STUDY_URL, and a folder of the test's own."""
    url = f"postgresql://{postgresql}/study"
    monkeypatch.setenv(VARIABLE, url)
    monkeypatch.chdir(tmp_path)
    return url


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Callable[[str, str, float], subprocess.Popen[str]]]:
    """Function that starts a search in a folder of its own on the study of a name; each of its trials takes the given seconds."""
    with ExitStack() as ended:

        def run(folder: str, name: str, seconds: float) -> subprocess.Popen[str]:
            (tmp_path / folder).mkdir()
            code = textwrap.dedent(SEARCH.format(tests=str(ROOT)))
            environment = {**os.environ, VARIABLE: url, "PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-c", code, name, str(seconds), str(TRIALS)]
            process = subprocess.Popen(
                command, cwd=tmp_path / folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            ended.callback(process.kill)
            return process

        yield run


def trials_of(name: str) -> list[optuna.trial.FrozenTrial]:
    settings = tuned(trials=TRIALS)
    return open_study(name, settings, head_level(settings)).trials


def require_own_values(trials: list[optuna.trial.FrozenTrial]) -> None:
    """Each trial that is complete has the value of its own params."""
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            units = trial.params["train.hidden_units"] == "[64]"
            assert trial.value == pytest.approx(trial.params["train.dropout"] - 0.1 * units)


def test_killed_search_loses_no_trial_of_the_study_that_it_shares(start):
    killed, other = start("killed", "shared", 60), start("other", "shared", 1)
    assert killed.stdout is not None
    line = killed.stdout.readline()
    assert line.startswith("trial "), line + killed.stdout.read()
    number = int(line.split()[1])
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    output = other.communicate(timeout=SECONDS)[0]
    assert other.returncode == 0, output

    trials = trials_of("shared")
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert trials[number].state == TrialState.FAIL
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == TRIALS
    assert [trial.state for trial in trials].count(TrialState.FAIL) == 1
    again = [trial for trial in trials if trial.system_attrs.get("failed_trial") == number]
    assert [trial.state for trial in again] == [TrialState.COMPLETE]
    assert again[0].params == trials[number].params
    assert [int(line.split()[1]) for line in output.splitlines() if line.startswith("ended")] == [trial.number for trial in complete]
    require_own_values(trials)


def test_two_searches_that_start_at_once_count_each_trial_once(start):
    searches = [start(folder, "at once", 0.1) for folder in ("one", "two")]
    outputs = [search.communicate(timeout=SECONDS)[0] for search in searches]
    assert [search.returncode for search in searches] == [0, 0], outputs

    trials = trials_of("at once")
    ended = [int(line.split()[1]) for output in outputs for line in output.splitlines() if line.startswith("ended")]
    assert sorted(ended) == [trial.number for trial in trials] == list(range(len(trials)))
    assert TRIALS <= len(trials) <= TRIALS + 1  # the other search may have been in its last one
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert sum("default" in trial.user_attrs for trial in trials) == 1
    require_own_values(trials)


def test_search_survives_connections_that_the_server_closes(url):
    settings = tuned(trials=TRIALS)
    study = open_study("closed", settings, head_level(settings))

    def objective(trial, tried):
        if trial.number == 3:
            with psycopg2.connect(url) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'study' AND pid <> pg_backend_pid()")
                assert cursor.fetchall()
        return value_of(tried)

    search(study, settings, objective, lambda _: None, head_level(settings))

    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * TRIALS


@pytest.mark.parametrize(("database", "reason"), [("guarded", "password authentication failed"), ("missing", "does not exist")])
def test_refusal_is_one_line_without_the_password(database, reason, postgresql, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    user, _, address = postgresql.partition("@")
    monkeypatch.setenv(VARIABLE, f"postgresql://{user}:s3cret@{address}/{database}")

    for open_database in (require_database, lambda: open_study("made", tuned(), head_level(tuned()))):
        with pytest.raises(ServiceUnavailable, match=reason) as fault:
            open_database()
        assert VARIABLE in str(fault.value)
        assert "s3cret" not in str(fault.value)
        assert "\n" not in str(fault.value)
