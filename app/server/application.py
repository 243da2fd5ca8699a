"""The ASGI application: routes for programs and people, behind the doors."""

from fastapi import FastAPI

from app.server import api, errors, log, openapi
from app.server.doors import sign_in, stack
from app.server.engine import Engine
from app.server.settings import Settings


def build(settings: Settings, engine: Engine) -> FastAPI:
    """Build the application.

    Args:
        settings: what the service was started with.
        engine: that computes; routes take it and the settings from `request.app.state`.
    """
    application = FastAPI(title="Lesionflow", openapi_url=None, docs_url=None, redoc_url=None)
    application.state.settings, application.state.engine = settings, engine
    log.configure()
    errors.install(application)
    application.include_router(api.router)
    application.include_router(openapi.router)
    application.include_router(sign_in.router)
    stack.install(application, settings)
    return application
