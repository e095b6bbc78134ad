"""Who is tried against the emulator: to add one, one line."""

from __future__ import annotations

from tests.contract import Folder, Program, Remote, Row, Writing

INLINE = frozenset({"cdn", "task"})  # pictures come in the reply
LINKED = frozenset({"base64"})  # pictures come by address
DESCRIBED = (
    *("a1111", "comfyui", "replicate", "fal", "bfl", "stability", "together", "huggingface", "openrouter", "studio"),
)
GIGACHAT = {"url": "/v1", "oauth": "/api/v2/oauth"}

GROUPS: dict[str, tuple[Row, ...]] = {
    "Services with an adapter of their own": (
        Remote("freepik classic", "freepik", "freepik", {"mode": "classic"}, INLINE),
        Remote("freepik mystic", "freepik", "freepik", {"mode": "mystic"}, LINKED),
        Remote("freepik flux-dev", "freepik", "freepik", {"mode": "flux-dev"}, LINKED),
        Remote("deepai", "deepai", "deepai"),
        Remote("gemini", "gemini", "gemini"),
        Remote("imagen", "imagen", "imagen"),
        Remote("imagen on Vertex", "imagen", "imagen", {"project": "museum"}),
        Remote("openai", "openai", "openai"),
    ),
    "Services that are described in YAML": tuple(Remote(name, "http", name, {"service": name}) for name in DESCRIBED),
    "Services that write": (
        Writing("deepseek", "write"),
        Writing("openai", "write"),
        Writing("openai", "see"),
        Writing("gigachat", "write", GIGACHAT),
        Writing("gigachat", "see", GIGACHAT),
    ),
    "Pictures that are made on this machine": (Folder(), Program()),
}
"""The tables of docs/providers/faults.md, in their order."""

ROWS = tuple(row for rows in GROUPS.values() for row in rows)
