"""The engine: a bounded queue in the order of arrival, jobs of clients who left, and a version that is replaced."""

import asyncio
import threading
from pathlib import Path

import pytest

from app.models.lookup import FoundVersion
from app.server import engine as engine_module
from app.server.engine import DEPARTURE, Busy, ClientGone, Engine, NotReady
from components.core.errors import LesionflowError
from components.serving.answers import Contract
from components.serving.loading import ServedPredictor


def found(number: str) -> FoundVersion:
    return FoundVersion("model", number, Path(number))


def load(version: FoundVersion, count: int) -> list[ServedPredictor]:
    if version.number == "broken":
        raise LesionflowError("version broken of model cannot be loaded")
    return [ServedPredictor((version.number, thread), ValueError, Contract(outputs=(version.number,))) for thread in range(count)]


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setattr(engine_module, "load_predictors", load)
    made = []

    def engine(threads=1, waiting=2, version="1"):
        made.append(Engine(threads, waiting))
        if version:
            made[-1].load(found(version))
        return made[-1]

    yield engine
    for one in made:
        one.close()


class Gate:
    """Work that runs until it is opened, and notes its names in order."""

    def __init__(self):
        self.opened, self.started, self.order = threading.Event(), threading.Event(), []

    def work(self, name):
        def run(predictor):
            self.order.append(name)
            self.started.set()
            assert self.opened.wait(10)
            return predictor.predictor[0]

        return run


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited 5 s")


def test_nothing_is_computed_before_a_version_is_loaded(make):
    with pytest.raises(NotReady):
        asyncio.run(make(version=None).run(lambda predictor: predictor))


def test_answer_names_the_version_that_computed_it(make):
    loaded, number = asyncio.run(make(version="7").run(lambda predictor: predictor.predictor[0]))
    assert (loaded.found.number, loaded.contract.outputs, number) == ("7", ("7",), "7")


def test_more_jobs_than_may_wait_are_refused_and_the_others_run_in_order(make):
    async def check():
        engine, gate = make(threads=1, waiting=2), Gate()
        jobs = [asyncio.create_task(engine.run(gate.work(name))) for name in "abc"]
        await until(gate.started.is_set)
        assert (engine.running, engine.waiting) == (1, 2)
        with pytest.raises(Busy):
            await engine.run(gate.work("d"))
        gate.opened.set()
        await asyncio.gather(*jobs)
        await until(lambda: engine.running == 0)
        assert gate.order == ["a", "b", "c"]
        await engine.run(gate.work("e"))

    asyncio.run(check())


def test_job_whose_client_left_is_not_run(make):
    async def check():
        engine, gate = make(threads=1, waiting=2), Gate()
        first = asyncio.create_task(engine.run(gate.work("first")))
        await until(gate.started.is_set)
        left = asyncio.Event()
        DEPARTURE.set(left.wait)
        second = asyncio.create_task(engine.run(gate.work("second")))
        await until(lambda: engine.waiting == 1)
        left.set()
        with pytest.raises(ClientGone):
            await second
        await until(lambda: engine.waiting == 0)
        gate.opened.set()
        await first
        assert gate.order == ["first"]

    asyncio.run(check())


def test_running_job_of_a_client_who_left_keeps_its_thread(make):
    async def check():
        engine, gate = make(threads=1, waiting=0), Gate()
        left = asyncio.Event()
        DEPARTURE.set(left.wait)
        job = asyncio.create_task(engine.run(gate.work("first")))
        await until(gate.started.is_set)
        left.set()
        with pytest.raises(ClientGone):
            await job
        assert engine.running == 1
        with pytest.raises(Busy):
            await engine.run(gate.work("second"))
        gate.opened.set()
        await until(lambda: engine.running == 0)

    asyncio.run(check())


def test_version_is_replaced_while_jobs_run(make):
    async def check():
        engine, gate = make(threads=2, waiting=2), Gate()
        old = asyncio.create_task(engine.run(gate.work("old")))
        await until(gate.started.is_set)
        engine.load(found("2"))
        new = asyncio.create_task(engine.run(lambda predictor: predictor.predictor[0]))
        assert (await new)[1] == "2"
        gate.opened.set()
        loaded, number = await old
        assert (loaded.found.number, number) == ("1", "1")

    asyncio.run(check())


def test_version_that_cannot_be_loaded_leaves_the_former_one(make):
    engine = make()
    with pytest.raises(LesionflowError, match="broken"):
        engine.load(found("broken"))
    assert engine.loaded.found.number == "1"


def test_fault_of_a_job_is_raised_and_frees_its_thread(make):
    engine = make(threads=1, waiting=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(engine.run(lambda _predictor: 1 / 0))
    assert asyncio.run(engine.run(lambda predictor: predictor.predictor[0]))[1] == "1"


def test_no_two_jobs_share_a_predictor_at_a_time(make):
    async def check():
        engine, both = make(threads=2, waiting=8), threading.Barrier(2)

        def work(predictor):
            both.wait(10)
            return predictor.predictor[1]

        answers = await asyncio.gather(*(engine.run(work) for _ in range(8)))
        assert sorted(number for _, number in answers) == [0] * 4 + [1] * 4

    asyncio.run(check())
