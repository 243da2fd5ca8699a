"""The ASGI application: routes for programs and people, behind the doors."""

from fastapi import FastAPI

from app.server import api, errors, log, openapi, status
from app.server.departure import Departure
from app.server.doors import sign_in, stack
from app.server.engine import Engine
from app.server.following import State
from app.server.metrics import Measured, Metrics
from app.server.page import routes as page
from app.server.review import routes as review
from app.server.settings import Settings


def build(settings: Settings, engine: Engine, registry: State | None = None) -> FastAPI:
    """Build the application.

    Args:
        settings: what the service was started with.
        engine: that computes; routes take it and the settings from `request.app.state`.
        registry: what is known of the registry.
    """
    application = FastAPI(title="Lesionflow", openapi_url=None, docs_url=None, redoc_url=None)
    state = application.state
    state.settings, state.engine, state.registry = settings, engine, registry or State()
    state.metrics = Metrics(engine, state.registry)
    log.configure()
    errors.install(application)
    for routes in (api, status, openapi, sign_in):
        application.include_router(routes.router)
    page.install(application)
    if settings.review:
        review.install(application)
    # The last one added is outermost.
    application.add_middleware(Departure)
    stack.install(application, settings)
    application.add_middleware(Measured, metrics=state.metrics)
    return application
