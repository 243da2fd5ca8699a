"""Retries and time limits, as Prefect applies them."""

import sys
import time
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.timeout(300, method="thread")  # Prefect limits tasks by the same alarm signal that pytest-timeout would use


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


def test_what_did_not_answer_is_tried_again_and_what_failed_is_not(monkeypatch):
    from prefect import flow

    from flows import steps
    from flows.runner import CommandFailed, Outcome, TryLater

    tries = []

    def run_stage(name, *_):
        tries.append(name)
        if name == "train":
            raise CommandFailed("train failed:\nthe data are bad")
        if tries.count(name) < 3:
            raise TryLater("register failed:\nMLflow did not answer")
        return Outcome(name, False, 1.0)

    monkeypatch.setattr(steps, "run_stage", run_stage)
    quick = steps.stage.with_options(retry_delay_seconds=0)

    @flow
    def registering():
        return quick("register").result()

    @flow
    def training():
        return quick("train")

    assert registering() == Outcome("register", False, 1.0)
    with pytest.raises(CommandFailed, match="the data are bad"):
        training()
    assert tries == ["register"] * 3 + ["train"]


def test_a_time_limit_ends_the_command_too(tmp_path):
    from prefect import flow, task

    from flows.runner import execute

    @task(timeout_seconds=2)
    def hang():
        execute([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(90)"], print, root=tmp_path, what="x")

    @flow
    def hanging():
        hang()

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        hanging()
    assert time.monotonic() - started < 60
