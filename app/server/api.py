"""Routes for programs, under /v1."""

from typing import Any

from fastapi import APIRouter, Request

router = APIRouter(prefix="/v1")


@router.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    """Answer about one image, whose bytes are the body."""
    content = await request.body()
    loaded, answer = await request.app.state.engine.run(lambda predictor: predictor.predict(content))
    return {"version": loaded.found.number, "diagnosis": answer.diagnosis, "probabilities": answer.probabilities}
