"""Google's Imagen models by `predict`, on the Gemini API and on Vertex AI, for whoever still has one of them.

Google shut these models down in the summer of 2026 on both hosts; adapter `gemini` draws with what took their place.

POST {url}/v1beta/models/{model}:predict                                                      x-goog-api-key
POST {url}/v1/projects/{project}/locations/{location}/publishers/google/models/{model}:predict   Bearer token
200 {"predictions": [{"bytesBase64Encoded", "prompt"}]}; what was filtered is missing, or names its reason
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, model_validator

from harness.config.profile import ProviderConfig
from harness.config.service_models import INSTEAD_OF_IMAGEN
from harness.core.values import Outcome, Request
from harness.core.yaml import VariableName
from harness.providers import ProviderContext
from harness.providers.gemini import SHAPES as ALL_SHAPES
from harness.providers.gemini import explain_google, ignored_negative
from harness.providers.http_client.exchange import Call, Reply, Unanswered
from harness.providers.http_client.options import RemoteOptions
from harness.providers.remote import (
    ParsedReply,
    Picture,
    RemoteProvider,
    inline_picture,
    nearest_shape,
    read_json,
    read_list,
    refusal,
    wrap_seed,
)

SHAPES = {name: ALL_SHAPES[name] for name in ("1:1", "3:4", "4:3", "9:16", "16:9")}
SEEDS = (1, 2_147_483_647)
RETIRED = f"Google shut Imagen down in 2026; use {INSTEAD_OF_IMAGEN}"


class ImagenOptions(RemoteOptions):
    """With `project` it is Vertex AI, and `key` names a variable with an access token, which lasts an hour."""

    url: str = "https://generativelanguage.googleapis.com"
    key: VariableName = "GEMINI_API_KEY"
    header: str = "x-goog-api-key"
    prefix: str = ""
    model: str = "imagen-4.0-generate-001"
    project: str = ""
    location: str = "us-central1"
    resolution: Literal["", "1K", "2K"] = ""  # Imagen 3 has none
    watermark: bool = False  # of Vertex; with it, or with several pictures a call, there are no seeds
    per_call: int = Field(1, ge=1, le=4)

    @model_validator(mode="before")
    @classmethod
    def of_vertex(cls, given: Any) -> Any:
        """Vertex has other defaults."""
        if not isinstance(given, Mapping) or not given.get("project"):
            return given
        host = f"https://{given.get('location', 'us-central1')}-aiplatform.googleapis.com"
        defaults = {"url": host, "key": "GOOGLE_ACCESS_TOKEN", "header": "Authorization", "prefix": "Bearer "}
        return {**defaults, **given}


class ImagenProvider(RemoteProvider):
    """Imagen by `predict`."""

    adapter, service, Options = "imagen/1", "imagen", ImagenOptions
    options: ImagenOptions

    def __init__(self, name: str, config: ProviderConfig, context: ProviderContext) -> None:
        super().__init__(name, config, context)
        self.vertex = bool(self.options.project)
        self.seeded = self.vertex and not self.options.watermark and self.options.per_call == 1

    def ask(self, request: Request, count: int) -> Call:
        options = self.options
        shape = nearest_shape(request.width, request.height, SHAPES)
        parameters: dict[str, object] = {"sampleCount": count, "aspectRatio": shape, "includeRaiReason": True}
        parameters |= {"sampleImageSize": options.resolution} if options.resolution else {}
        if self.vertex:  # the other host refuses each of these
            parameters |= {"addWatermark": options.watermark, "enhancePrompt": False}
            parameters |= {"negativePrompt": request.negative} if request.negative else {}
        if self.seeded:
            parameters["seed"] = wrap_seed(request.seed, *SEEDS)
        body = {"instances": [{"prompt": request.prompt}], "parameters": parameters}
        return Call(self._path(":predict"), json=body)

    def read(self, reply: Reply) -> ParsedReply:
        answer, pictures, meta = read_json(reply), [], {}
        for entry in read_list(answer, "predictions"):
            if not isinstance(entry, dict) or entry.get("contentType") == "Positive Prompt":  # the prompt's own rating
                continue
            if entry.get("raiFilteredReason"):
                pictures.append(Picture(problem=refusal(entry["raiFilteredReason"])))
            else:
                pictures.append(inline_picture(entry.get("bytesBase64Encoded")))
            if entry.get("prompt"):
                meta["rewritten_prompt"] = str(entry["prompt"])
        return ParsedReply(tuple(pictures), meta)

    def absent(self) -> Unanswered:
        """The service leaves out what it filtered, down to an empty reply."""
        return refusal("the picture is left out of the reply, without a reason")

    def problem(self, reply: Reply) -> Unanswered:
        result = explain_google(reply)
        if result.outcome is not Outcome.MODEL_RETIRED:
            return result
        return Unanswered(
            result.outcome, f"HTTP {reply.status}: no model {self.options.model!r}; {RETIRED}", final=True
        )

    def settings(self) -> Mapping[str, object]:
        options = self.options
        result: dict[str, object] = {"resolution": options.resolution} if options.resolution else {}
        if self.vertex:
            result |= {"watermark": options.watermark, "seeded": self.seeded}
        return result

    def notes(self, request: Request) -> Mapping[str, object]:
        results: dict[str, object] = {"shape": nearest_shape(request.width, request.height, SHAPES)}
        results |= {"seed": wrap_seed(request.seed, *SEEDS)} if self.seeded else {}
        return results | ({} if self.vertex else ignored_negative(request))

    def probe(self) -> Call | None:
        """Vertex has no cheap call that is documented."""
        return None if self.vertex else Call(self._path(""), "GET", paid=False)

    def _path(self, verb: str) -> str:
        options = self.options
        model = f"models/{quote(options.model, safe='')}{verb}"
        if not self.vertex:
            return f"/v1beta/{model}"
        project, location = quote(options.project, safe=""), quote(options.location, safe="")
        return f"/v1/projects/{project}/locations/{location}/publishers/google/{model}"
