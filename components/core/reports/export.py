"""reports/export.json: how the TFLite exports compare with the Keras model."""

from pydantic import Field

from components.core.document import Document, Part


class ExportedModel(Part):
    """One TFLite file against the Keras model, on all test images. A field with a default is missing in files of older versions."""

    bytes: int = Field(description="size of `build/export/model_<precision>.tflite`, or of `server.tflite`")
    largest_probability_difference: float = Field(description="over all test images and outputs")
    mean_probability_difference: float = Field(description="the same, on average")
    median_latency_ms: float = Field(description="one image on one thread, on the machine that ran the stage")
    reason: str | None = Field(default=None, description="why the file was not written; missing if it was")
    same_top1: float = Field(description="share of test images with the same prediction as Keras")
    written: bool = Field(default=True, description="whether the file was written: false if it differs too much from Keras")


class ExportReport(Document):
    """The exports in each precision. A field with a default is missing in files of older versions."""

    float16: ExportedModel
    float32: ExportedModel | None = None
    int8: ExportedModel
    server: ExportedModel | None = Field(default=None, description="`server.tflite`: float32, with features and maps too")
    test_images: int = Field(description="images on which exports and Keras were compared")

    @property
    def precisions(self) -> dict[str, ExportedModel]:
        """The exports by precision."""
        rows = {"float32": self.float32, "float16": self.float16, "int8": self.int8, "server": self.server}
        return {precision: row for precision, row in rows.items() if row is not None}
