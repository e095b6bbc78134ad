"""Gemini's image models: parts in, parts out, and four ways to have no picture with status 200."""

from __future__ import annotations

from collections.abc import Mapping

from harness.emulator.exchange import Answer, Asked, answer_json, invalid
from harness.emulator.service import Pic, find_int, only, read_choice, read_number, read_section, route
from harness.emulator.services.google import FACTORS, RATIOS, Google

FIELDS = ("contents", "generationConfig", "safetySettings", "systemInstruction", "tools", "toolConfig", "cachedContent")
IMAGE_FIELDS = ("aspectRatio", "imageSize")
VERTEX_ONLY = ("personGeneration", "outputMimeType", "outputCompressionQuality", "imageOutputOptions")
CONFIG_FIELDS = (
    *("responseModalities", "seed", "imageConfig", "temperature", "topP", "topK", "candidateCount"),
    *("maxOutputTokens", "stopSequences", "thinkingConfig", "responseMimeType"),
)
REFUSAL = "I cannot create that picture. Would you like something else instead?"
ANNOUNCED = "Here is your image:"
VERSION = "/v1(?:beta)?"  # Google's SDK asks /v1 since its third major version, and /v1beta before
MODEL = VERSION + r"/models/(?P<model>[\w.-]+)"
SMALLEST = "512"  # a size that some models lack


class Gemini(Google):
    """One picture a call; the seed is best effort, and kept here."""

    forms = (
        *("refused", "refused_prompt", "refused_output", "refused_text", "refused_empty"),
        *("no_image", "drafts", "list_error"),
    )

    @route("GET", MODEL)
    def model(self, asked: Asked, model: str) -> Answer:
        self.check_model(model, self.models())
        return answer_json(model_record(model))

    @route("GET", VERSION + "/models")
    def list_models(self, asked: Asked) -> Answer:
        return answer_json({"models": [model_record(name) for name in self.models()]})

    @route("POST", MODEL + ":countTokens")
    def count(self, asked: Asked, model: str) -> Answer:
        self.check_model(model, self.models())
        return answer_json({"totalTokens": len(read_contents(self.json_body(asked)).split())})

    @route("POST", MODEL + ":streamGenerateContent", paid=True)
    def stream(self, asked: Asked, model: str) -> Answer:
        """The same reply as one server-sent event, as `alt=sse` asks for."""
        answer = self.generate(asked, model)
        if answer.status >= 300 or asked.query.get("alt") != "sse":
            return answer
        return Answer(200, b"data: " + answer.body + b"\r\n\r\n", {"Content-Type": "text/event-stream"})

    @route("POST", MODEL + ":generateContent", paid=True)
    def generate(self, asked: Asked, model: str) -> Answer:
        self.check_model(model, self.models())
        body = self.json_body(asked)
        only(body, FIELDS)
        prompt = read_contents(body)
        width, height, seed = read_config(read_section(body, "generationConfig", "must be an object"), model)
        if asked.fault == "list_error":
            error = {"code": 500, "message": "An internal error has occurred.", "status": "INTERNAL"}
            return answer_json([{"error": error}], 500)
        withheld = refusal(asked.fault)
        if withheld is not None:
            return answer_json(self.usage(model, prompt, withheld))
        pictures = self.draw(asked, prompt, width, height, seed=seed)
        parts = parts_of(asked, pictures, self)
        candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
        return answer_json(self.usage(model, prompt, {"candidates": [candidate]}))

    def usage(self, model: str, prompt: str, reply: Mapping[str, object]) -> dict[str, object]:
        words, made = len(prompt.split()), 1290 if "candidates" in reply else 0
        counts = {"promptTokenCount": words, "candidatesTokenCount": made, "totalTokenCount": words + made}
        return {**reply, "usageMetadata": counts, "modelVersion": model, "responseId": self.new_id()}


def model_record(name: str) -> dict[str, object]:
    """A model as the service lists it."""
    methods = ["generateContent", "countTokens"]
    return {"name": f"models/{name}", "version": "001", "displayName": name, "supportedGenerationMethods": methods}


def read_contents(body: Mapping[str, object]) -> str:
    """The text of all parts."""
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise invalid("contents", "contents is not specified")
    words = []
    for content in contents:
        if not isinstance(content, dict) or not isinstance(content.get("parts"), list):
            raise invalid("contents", "every content needs parts")
        if content.get("role", "user") not in ("user", "model"):
            raise invalid("contents.role", "Please use a valid role: user, model.")
        words += [str(part["text"]) for part in content["parts"] if isinstance(part, dict) and "text" in part]
    if not " ".join(words).strip():
        raise invalid("contents.parts", "must include at least one part with text")
    return " ".join(words)


def read_config(config: Mapping[str, object], model: str) -> tuple[int, int, int | None]:
    """Width, height and seed of a generationConfig."""
    only(config, CONFIG_FIELDS)
    wanted = config.get("responseModalities", ["TEXT", "IMAGE"])
    if not isinstance(wanted, list) or not set(map(str, wanted)) <= {"TEXT", "IMAGE"}:
        raise invalid("generationConfig.responseModalities", "TEXT and IMAGE are known")
    if "IMAGE" not in wanted:
        raise invalid("generationConfig.responseModalities", "the model needs IMAGE")
    read_number(config, "temperature", 0, 2, 1)
    if find_int(config, "candidateCount", 1, 8) not in (None, 1):
        raise invalid("generationConfig.candidateCount", "Multiple candidates is not enabled for this model")
    image = read_section(config, "generationConfig.imageConfig", "must be an object")
    for name in VERTEX_ONLY:
        if name in image:
            raise invalid(f"generationConfig.imageConfig.{name}", "not supported in the Gemini API")
    only(image, IMAGE_FIELDS)
    sizes = [size for size in FACTORS if size != SMALLEST or "nano-banana-2.1" not in model]
    factor = FACTORS[read_choice(image, "imageSize", sizes, "1K")]
    width, height = RATIOS[read_choice(image, "aspectRatio", tuple(RATIOS), "1:1")]
    return round(width * factor), round(height * factor), find_int(config, "seed", -(2**31), 2**31 - 1)


def refusal(fault: str) -> dict[str, object] | None:
    """What a reply holds instead of a picture; None when it holds one."""
    rating = [{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}]
    if fault in ("refused", "refused_prompt"):
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": rating}}
    if fault == "refused_output":
        text = "Unable to show the generated image."
        return {"candidates": [{"finishReason": "IMAGE_SAFETY", "finishMessage": text, "index": 0, "content": None}]}
    if fault == "refused_empty":
        return {"candidates": [{"finishReason": "NO_IMAGE", "index": 0, "content": {"role": "model"}}]}
    words = {"refused_text": REFUSAL, "no_image": ANNOUNCED}.get(fault)  # nothing but the words tells them apart
    if words is None:
        return None
    content = {"role": "model", "parts": [{"text": words}]}
    return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}


def parts_of(asked: Asked, pictures: list[Pic], service: Gemini) -> list[dict[str, object]]:
    """The parts of a reply: words come before the picture, and with `drafts` thoughts do too."""
    parts: list[dict[str, object]] = []
    if asked.fault == "drafts":
        draft = service.paint(asked, "a draft", 512, 512, 0, 1, "image/png")[0]
        parts.append({"text": "Let me think about the composition.", "thought": True})
        parts.append({"inlineData": {"mimeType": draft.mime, "data": draft.base64}, "thought": True})
    if "TEXT" in str(asked.payload.get("generationConfig", {}).get("responseModalities", "TEXT")):
        parts.append({"text": "Here is your picture."})
    for picture in pictures:
        inline = {"mimeType": picture.mime, "data": picture.base64}
        parts.append({"inlineData": inline, "thoughtSignature": "ZW11bGF0ZWQ="})
    return parts


SERVICE = Gemini
