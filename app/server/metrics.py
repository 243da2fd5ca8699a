"""What Prometheus reads from /metrics: requests, the engine, the version that answers, and the registry."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.server.engine import Engine
from app.server.following import State

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
NO_ROUTE = "none"
"""Route of a request that reached none, because a door refused it or there is none of its path."""
GONE = "gone"
"""Outcome of a request whose client left before the answer."""


class Metrics:
    """The metrics of a service.

    Args:
        engine: that computes.
        state: what is known of the registry.
    """

    def __init__(self, engine: Engine, state: State) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("lesionflow_requests", "Requests", ["route", "outcome"], registry=self._registry)
        self._seconds = Histogram(
            "lesionflow_request_seconds", "Seconds to the end of a response", ["route"], buckets=BUCKETS, registry=self._registry
        )
        self._registry.register(_Service(engine, state))
        ProcessCollector(registry=self._registry)

    def count(self, route: str, outcome: str, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, outcome).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """The page /metrics."""
        return generate_latest(self._registry)


class _Service:
    """Collects what the engine and the registry's state tell when the page is read."""

    def __init__(self, engine: Engine, state: State) -> None:
        self._engine, self._state = engine, state

    def collect(self) -> Iterator[Metric]:
        engine, state = self._engine, self._state
        yield GaugeMetricFamily("lesionflow_running", "Jobs that compute", engine.running)
        yield GaugeMetricFamily("lesionflow_waiting", "Jobs that wait for a thread", engine.waiting)
        yield GaugeMetricFamily("lesionflow_ready", "Whether a version answers", float(engine.loaded is not None))
        version = GaugeMetricFamily("lesionflow_version_info", "The version that answers", labels=["model", "version"])
        if engine.loaded is not None:
            version.add_metric([engine.loaded.found.model, engine.loaded.found.number], 1)
        yield version
        if state.answered is not None:
            age = time.monotonic() - state.answered
            yield GaugeMetricFamily("lesionflow_registry_answered_seconds", "Seconds since the registry answered last", age)
        yield GaugeMetricFamily(
            "lesionflow_registry_reachable", "Whether the registry answered when asked last", float(not state.unreachable)
        )
        yield CounterMetricFamily("lesionflow_load_failures", "Times that a version could not be loaded", state.load_failures)
        failed = float(state.failed is not None or state.unfetched)
        yield GaugeMetricFamily("lesionflow_wanted_version_failed", "Whether the wanted version could not be fetched or loaded", failed)


class Measured:
    """Middleware that counts each request.

    Args:
        application: what it wraps.
        metrics: where requests are counted.
    """

    def __init__(self, application: ASGIApp, metrics: Metrics) -> None:
        self._application, self._metrics = application, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        outcome, start = GONE, time.perf_counter()

        async def sent(message: Message) -> None:
            nonlocal outcome
            if message["type"] == "http.response.start":
                outcome = str(message["status"])
            await send(message)

        try:
            await self._application(scope, receive, sent)
        finally:
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            self._metrics.count(route, outcome, time.perf_counter() - start)
