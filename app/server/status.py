"""Routes that tell how the service is: /health, /ready and /metrics."""

from typing import Any

from fastapi import APIRouter, Request, Response

router = APIRouter(tags=["status"])


@router.get("/health", summary="Whether the process answers")
async def health() -> dict[str, bool]:
    """Answer as long as the process does, also while images are computed."""
    return {"healthy": True}


@router.get("/ready", summary="Whether a version answers", responses={503: {"description": "no version is loaded"}})
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """Answer 200 if a version is loaded. `problem` says what is wrong nevertheless: the registry does not answer, or the version that is
    wanted cannot be loaded and an earlier one answers."""
    loaded, state = request.app.state.engine.loaded, request.app.state.registry
    if loaded is None:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return {"ready": loaded is not None, "version": loaded.found.number if loaded else None, "problem": state.problem}


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """The metrics in Prometheus' text format."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
