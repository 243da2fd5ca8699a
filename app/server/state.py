"""What routes take from the application's state."""

from fastapi import Request

from app.server.engine import Engine, Loaded, NotReady


def engine_of(request: Request) -> Engine:
    """The engine that computes."""
    engine: Engine = request.app.state.engine
    return engine


def loaded_of(request: Request) -> Loaded:
    """The version that answers now.

    Raises:
        NotReady: there is none yet.
    """
    loaded = engine_of(request).loaded
    if loaded is None:
        raise NotReady("no version is loaded yet")
    return loaded
