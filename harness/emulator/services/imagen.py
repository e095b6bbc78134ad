"""Imagen's predict, on the Gemini API's path and on Vertex's: withheld pictures are simply missing."""

from __future__ import annotations

from collections.abc import Mapping

from harness.emulator.exchange import Answer, Asked, Problem, Rejected, answer_json, invalid
from harness.emulator.service import (
    WRONG_KEY,
    Pic,
    find_int,
    only,
    read_bool,
    read_choice,
    read_int,
    read_section,
    read_text,
    route,
)
from harness.emulator.services.google import FACTORS, RATIOS, Google

SHAPES = ("1:1", "3:4", "4:3", "9:16", "16:9")
BOTH = (
    *("sampleCount", "aspectRatio", "sampleImageSize", "personGeneration", "safetySetting", "includeRaiReason"),
    *("includeSafetyAttributes", "language", "guidanceScale", "outputOptions"),
)
VERTEX_ONLY = ("seed", "negativePrompt", "addWatermark", "enhancePrompt", "storageUri", "labels")
VERTEX = r"/v1(?:beta1)?/projects/[\w-]+/locations/[\w-]+/publishers/google/models/(?P<model>[\w.@-]+):predict"
PEOPLE = ("dont_allow", "allow_adult")
BLOCKS = ("block_low_and_above", "block_medium_and_above", "block_only_high")
REASON = (
    "Unable to show generated images. All images were filtered out because they violated Vertex AI's usage guidelines. "
    "Support codes: 56562880"
)


class Imagen(Google):
    """The Gemini API wants a key, Vertex a bearer token and knows a few more parameters."""

    forms = ("refused", "refused_empty", "refused_partial", "refused_output", "safety_entry")
    lacks = frozenset({"no_pictures"})  # a reply without pictures is a refusal here: `refused_empty`
    kept = ("imagen-4.0-generate-001", "imagen-4.0-ultra-generate-001", "imagen-4.0-fast-generate-001")  # for pins

    def authorize(self, asked: Asked) -> None:
        if "/projects/" not in asked.path:
            return super().authorize(asked)
        value = asked.headers.get("authorization", "")
        if not value.startswith("Bearer ") or value.removeprefix("Bearer ").strip() in ("", WRONG_KEY):
            raise Rejected(Problem("auth", "Request had invalid authentication credentials.", 401))
        return None

    def problem(self, problem: Problem) -> Answer:
        if problem.kind == "auth" and problem.status == 401:  # Vertex
            error = {"code": 401, "message": problem.message, "status": "UNAUTHENTICATED"}
            return answer_json({"error": error}, 401)
        return super().problem(problem)

    @route("GET", r"/v1(?:beta)?/models/(?P<model>[\w.-]+)")
    def model(self, asked: Asked, model: str) -> Answer:
        self.check_model(model, ("imagen-",))
        return answer_json({"name": f"models/{model}", "supportedGenerationMethods": ["predict"]})

    @route("POST", r"/v1(?:beta)?/models/(?P<model>[\w.-]+):predict", paid=True)
    def on_gemini(self, asked: Asked, model: str) -> Answer:
        parameters = asked.payload.get("parameters", {})
        for name in VERTEX_ONLY:
            if isinstance(parameters, dict) and name in parameters:
                raise invalid(f"parameters.{name}", f"{name} parameter is not supported in Gemini API.")
        return self.predict(asked, model, PEOPLE, BLOCKS)

    @route("POST", VERTEX, paid=True)
    def on_vertex(self, asked: Asked, model: str) -> Answer:
        return self.predict(asked, model, (*PEOPLE, "allow_all"), (*BLOCKS, "block_none"))

    def predict(self, asked: Asked, model: str, people: tuple[str, ...], blocks: tuple[str, ...]) -> Answer:
        self.check_model(model, ("imagen-",))
        body = self.json_body(asked)
        only(body, ("instances", "parameters"))
        prompt = read_instance(body)
        parameters = read_section(body, "parameters", "must be an object")
        only(parameters, (*BOTH, *VERTEX_ONLY))
        read_choice(parameters, "personGeneration", people, "allow_adult")
        read_choice(parameters, "safetySetting", blocks, "block_medium_and_above")
        count, seed = read_int(parameters, "sampleCount", 1, 4, 4), read_seed(parameters)
        width, height = RATIOS[read_choice(parameters, "aspectRatio", SHAPES, "1:1")]
        factor = FACTORS[read_choice(parameters, "sampleImageSize", ("1K", "2K"), "1K")]
        mime = read_mime(parameters)
        size = round(width * factor), round(height * factor)
        pictures = self.draw(asked, prompt, *size, seed=seed, count=count, mime=mime)
        entries = entries_of(asked, parameters, pictures, prompt)
        return answer_json({"predictions": entries} if entries else {})


def read_instance(body: Mapping[str, object]) -> str:
    """The prompt of the one instance."""
    instances = body.get("instances")
    if not isinstance(instances, list) or len(instances) != 1 or not isinstance(instances[0], dict):
        raise invalid("instances", "exactly one instance is needed")
    return read_text(instances[0], "prompt")


def read_seed(parameters: Mapping[str, object]) -> int | None:
    """The seed, which goes neither with a watermark nor with an enhanced prompt."""
    seed = find_int(parameters, "seed", 1, 2**31 - 1)
    watermark = read_bool(parameters, "addWatermark", True)
    enhanced = read_bool(parameters, "enhancePrompt", False)
    if seed is not None and (watermark or enhanced):
        raise invalid("parameters.seed", "Seed is not supported when watermark is enabled or the prompt is enhanced.")
    return seed


def read_mime(parameters: Mapping[str, object]) -> str:
    options = read_section(parameters, "parameters.outputOptions", "must be an object")
    return read_choice(options, "mimeType", ("image/png", "image/jpeg"), "image/png")


def entries_of(
    asked: Asked, parameters: Mapping[str, object], pictures: list[Pic], prompt: str
) -> list[dict[str, object]]:
    """The predictions: pictures, reasons where they are asked for, and one entry that is no picture."""
    enhanced = {"prompt": f"{prompt}, highly detailed"} if parameters.get("enhancePrompt") else {}
    entries: list[dict[str, object]] = [
        {"mimeType": picture.mime, "bytesBase64Encoded": picture.base64, **enhanced} for picture in pictures
    ]
    reason: dict[str, object] = {"raiFilteredReason": REASON}
    if asked.fault == "refused":  # as `includeRaiReason` has it, or without a word
        entries = [reason for _ in entries] if parameters.get("includeRaiReason") else []
    elif asked.fault == "refused_output":  # some models give the reason unasked
        entries = [reason for _ in entries]
    elif asked.fault == "refused_empty":
        entries = []
    elif asked.fault == "refused_partial":
        entries = [*entries[:-1], reason] if parameters.get("includeRaiReason") else entries[:-1]
    if entries and (asked.fault == "safety_entry" or parameters.get("includeSafetyAttributes")):
        scores = {"categories": ["Violence"], "scores": [0.1]}
        entries.append({"contentType": "Positive Prompt", "safetyAttributes": scores})
    return entries


SERVICE = Imagen
