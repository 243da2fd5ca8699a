"""The ASGI application: routes for programs and people, behind the doors."""

from fastapi import FastAPI

from app.server import api
from app.server.engine import Engine
from app.server.page import routes as page
from app.server.settings import Settings


def build(settings: Settings, engine: Engine) -> FastAPI:
    """Build the application.

    Args:
        settings: what the service was started with.
        engine: that computes; routes take it and the settings from `request.app.state`.
    """
    application = FastAPI(title="Lesionflow", docs_url=None, redoc_url=None)
    application.state.settings, application.state.engine = settings, engine
    application.include_router(api.router)
    page.install(application)
    return application
