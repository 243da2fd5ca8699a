"""A study in a database: the present setting first, each trial counted once, also with several and with killed searches."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.trial import TrialState

from components.core.errors import LesionflowError, ParamsError
from components.runtime.params import Settings
from components.runtime.params_file import load
from components.search import study_database
from components.search.levels import head_level
from components.search.study import open_study, search
from components.search.tuning import Searched
from components.search.tuning_report import draw, report_of
from tests.support.project import ROOT

SPACE = {"train.dropout": {"low": 0.0, "high": 0.6}, "train.hidden_units": {"choices": [[], [64]]}}


@pytest.fixture
def settings(monkeypatch, tmp_path) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(study_database.VARIABLE, raising=False)
    return tuned(trials=8)


def tuned(**changes: object) -> Settings:
    """params.yaml with a small space and other changes of `tuning`."""
    document = load(ROOT / "params.yaml").model_dump(by_alias=True)
    return Settings.model_validate({**document, "tuning": {**document["tuning"], "space": SPACE, **changes}})


def value_of(settings: Settings) -> float:
    """A value that depends on the params alone."""
    return settings.train.dropout - 0.1 * len(settings.train.hidden_units)


def run(settings: Settings, **options) -> optuna.Study:
    study = open_study("made", settings, head_level(settings))
    search(
        study,
        settings,
        options.get("objective", lambda _, tried: value_of(tried)),
        options.get("on_trial", lambda _: None),
        head_level(settings),
    )
    return study


def test_line_of_a_trial_counts_those_that_ended_before(settings):
    searched = Searched(head_level(settings), run(settings))
    lines = [searched.line(trial) for trial in searched.study.trials]

    assert lines[0] == "1 of 8: trial 0, 0.300 (complete) {'train.dropout': 0.3, 'train.hidden_units': []}"
    assert [line.partition(":")[0] for line in lines] == [f"{number} of 8" for number in range(1, 9)]


def test_first_trial_is_the_present_setting_and_the_best_is_told(settings, tmp_path):
    study = run(settings)
    report = report_of(study, settings, head_level(settings))

    assert study.trials[0].params == {"train.dropout": settings.train.dropout, "train.hidden_units": "[]"}
    assert report.present_value == pytest.approx(value_of(settings))
    assert report.best_value == max(trial.value for trial in study.trials)
    assert report.present == {"train.dropout": 0.3, "train.hidden_units": []}
    assert isinstance(report.best["train.hidden_units"], list)
    assert report.counts == {"complete": 8}
    draw(study, tmp_path)
    assert {path.name for path in tmp_path.glob("*.png")} == {"history.png", "importance.png", "parallel_coordinates.png"}


def test_search_goes_on_where_it_was_and_ends_at_once_when_done(settings):
    with pytest.raises(KeyboardInterrupt):
        run(settings, on_trial=_interrupt_at(3))
    study = run(settings)

    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 8
    assert len(run(settings).trials) == len(study.trials)


def _interrupt_at(number: int):
    def on_trial(trial) -> None:
        if trial.number == number:
            raise KeyboardInterrupt

    return on_trial


def test_pruned_trials_count_and_have_no_value_in_the_report(settings):
    def objective(trial, tried):
        trial.report(value_of(tried), 0)
        if trial.number % 2:
            raise optuna.TrialPruned
        return value_of(tried)

    study = run(settings, objective=objective)

    assert report_of(study, settings, head_level(settings)).counts == {"complete": 4, "pruned": 4}


def test_two_searches_at_once_count_each_trial_once(settings):
    def slowly(_, tried):
        time.sleep(0.05)
        return value_of(tried)

    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(run, settings, objective=slowly) for _ in range(2)]:
            ended.result()

    trials = open_study("made", settings, head_level(settings)).trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert settings.tuning.trials <= len(trials) <= settings.tuning.trials + 1  # the other search may have been in its last one
    assert sum("default" in trial.user_attrs for trial in trials) == 1
    for trial in trials:
        dropout, units = trial.params["train.dropout"], trial.params["train.hidden_units"]
        assert trial.value == pytest.approx(dropout - 0.1 * (units == "[64]"))


@pytest.mark.parametrize("seconds", [3, pytest.param(20, marks=pytest.mark.sweep)])
def test_database_that_is_locked_for_a_while_loses_no_trial(settings, seconds):
    study = open_study("made", settings, head_level(settings))
    connection = sqlite3.connect(study_database.DATABASE, isolation_level=None, check_same_thread=False)

    def objective(trial, tried):
        if trial.number == 2:
            connection.execute("BEGIN EXCLUSIVE")
            threading.Timer(seconds, connection.execute, ("ROLLBACK",)).start()
        return value_of(tried)

    start = time.monotonic()
    search(study, settings, objective, lambda _: None, head_level(settings))

    assert time.monotonic() - start >= seconds
    assert report_of(study, settings, head_level(settings)).counts == {"complete": 8}
    assert [trial.number for trial in study.trials] == list(range(8))


KILLED = """
    import os, sys, time
    from components.search import study_database
    from components.search.levels import head_level
    from components.search.study import open_study, search
    study_database.HEARTBEAT, study_database.GRACE = 1, 3
    sys.path.insert(0, {tests!r})
    from tests.unit.search.test_study import tuned, value_of
    settings = tuned(trials=6)
    study = open_study("made", settings, head_level(settings))

    def objective(trial, tried):
        if trial.number == 2:
            print("in trial 2", flush=True)
            time.sleep(60)
        return value_of(tried)

    search(study, settings, objective, lambda _: None, head_level(settings))
"""


def test_trial_of_a_killed_search_is_tried_again_with_its_params(settings, monkeypatch, tmp_path):
    code = textwrap.dedent(KILLED.format(tests=str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in trial 2\n"
        time.sleep(1.5)  # for its first heartbeat
        process.send_signal(signal.SIGKILL)
    time.sleep(3.5)
    monkeypatch.setattr(study_database, "HEARTBEAT", 1)
    monkeypatch.setattr(study_database, "GRACE", 3)

    study = run(settings.model_copy(update={"tuning": settings.tuning.model_copy(update={"trials": 6})}))

    killed = study.trials[2]
    assert killed.state == TrialState.FAIL
    again = [trial for trial in study.trials if trial.system_attrs.get("failed_trial") == 2 or trial.params == killed.params]
    assert any(trial.state == TrialState.COMPLETE for trial in again)
    assert report_of(study, settings, head_level(settings)).counts["complete"] == 6


@pytest.mark.usefixtures("settings")
def test_present_setting_outside_of_the_space_is_named():
    outside = tuned(space={"train.dropout": {"low": 0.4, "high": 0.6}})

    with pytest.raises(LesionflowError, match=r"train.dropout is 0.3 now, which tuning.space does not hold"):
        open_study("made", outside, head_level(outside))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"train.dropuot": {"low": 0, "high": 0.5}}, "train.dropuot is not a key"),
        ({"finetune.epochs": {"choices": [1, 2]}}, r"this search varies train.\* only"),
        ({"train.dropout": {"low": 0.5, "high": 0.5}}, "low must be below high"),
        ({"train.dropout": {"low": 0.0, "high": 1.5}}, "train.dropout cannot be 1.5"),
        ({"train.learning_rate": {"low": 0.0, "high": 0.5, "log": True}}, "low must be above 0"),
        ({"train.dropout": {"low": 0.1}}, "either low and high, or choices"),
        ({"train.dropout": {"low": 0.1, "hihg": 0.2}}, "did you mean 'high'"),
        ({}, "at least 1"),
    ],
)
def test_wrong_space_is_an_error_of_params_yaml(space, message, tmp_path):
    import yaml

    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["tuning"]["space"] = space
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")

    with pytest.raises(ParamsError, match=message):
        load(tmp_path / "params.yaml")
