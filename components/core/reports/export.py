"""reports/export.json: how the TFLite exports compare with the Keras model."""

from pydantic import Field

from components.core.document import Document, Part


class ExportedModel(Part):
    """One TFLite file against the Keras model, on all test images."""

    bytes: int = Field(description="size of `build/export/model_<precision>.tflite`")
    largest_probability_difference: float = Field(description="over all test images and outputs")
    mean_probability_difference: float = Field(description="the same, on average")
    median_latency_ms: float = Field(description="one image on one thread, on the machine that ran the stage")
    same_top1: float = Field(description="share of test images with the same prediction as Keras")


class ExportReport(Document):
    """The exports in both precisions."""

    float16: ExportedModel
    int8: ExportedModel
    test_images: int = Field(description="images on which exports and Keras were compared")

    @property
    def precisions(self) -> dict[str, ExportedModel]:
        """The exports by precision."""
        return {"float16": self.float16, "int8": self.int8}
