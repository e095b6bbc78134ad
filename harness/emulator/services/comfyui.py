"""ComfyUI: a graph is queued at /prompt, found in /history when it is done, its pictures at /view."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from harness.emulator.exchange import Answer, Asked, Problem, Rejected, answer_json
from harness.emulator.faults import LIST
from harness.emulator.service import Service, route

CHECKPOINTS = ("sd_xl_base_1.0.safetensors",)
SAMPLERS = ("euler", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_sde", "ddim", "uni_pc")
SCHEDULERS = ("normal", "karras", "exponential", "simple", "ddim_uniform")
NODES: dict[str, tuple[str, ...]] = {
    "CheckpointLoaderSimple": ("ckpt_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip", "model", "clip"),
    "CLIPTextEncode": ("text", "clip"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "KSampler": (
        "seed",
        "steps",
        "cfg",
        "sampler_name",
        "scheduler",
        "denoise",
        "model",
        "positive",
        "negative",
        "latent_image",
    ),
    "VAEDecode": ("samples", "vae"),
    "SaveImage": ("images", "filename_prefix"),
}
"""Node classes that are installed, with their required inputs."""
LISTS: dict[str, tuple[str, ...]] = {"ckpt_name": CHECKPOINTS, "sampler_name": SAMPLERS, "scheduler": SCHEDULERS}
RANGES: dict[str, tuple[float, float]] = {
    "width": (16, 16384),
    "height": (16, 16384),
    "batch_size": (1, 4096),
    "seed": (0, 2**64 - 1),
    "steps": (1, 10000),
    "cfg": (0, 100),
    "denoise": (0, 1),
    "strength_model": (-100, 100),
    "strength_clip": (-100, 100),
}


class ComfyUI(Service):
    auth = ()
    delivers = ("url",)
    tasks = True
    forms = ("cached",)
    lacks = frozenset({"auth", "forbidden", "quota", "rate_quota", "task_refused", "poll_gone"}) | frozenset(
        fault.name
        for fault in LIST
        if fault.kind == "cdn"  # its pictures are at its own address
    )
    replies = (("/system_stats", {"system": {"os": "posix", "comfyui_version": "0.9.2"}, "devices": []}),)

    @route("POST", "/prompt", paid=True)
    def queue_prompt(self, asked: Asked) -> Answer:
        graph = self.json_body(asked).get("prompt")
        if not isinstance(graph, dict) or not graph:
            raise Rejected(Problem("invalid", "No prompt provided", code="no_prompt"))
        errors = {number: result for number, node in graph.items() if (result := check_node(graph, node))}
        if errors:
            return refuse_graph(graph, errors)
        sampler = first_of(graph, "KSampler")
        latent = graph[sampler["latent_image"][0]]["inputs"]
        prompt = str(graph[sampler["positive"][0]]["inputs"]["text"])
        size, count = (latent["width"], latent["height"]), latent["batch_size"]
        draw = partial(self.paint, asked, prompt, *size, sampler["seed"], count, "image/png")
        task = self.start(asked, draw, graph=graph)
        return answer_json({"prompt_id": task.id, "number": 1, "node_errors": {}})

    @route("GET", "/history/(?P<task_id>[^/]+)")
    def history(self, asked: Asked, task_id: str) -> Answer:
        """An empty object until the task is done."""
        try:
            state, task = self.look(task_id)
        except Rejected as error:
            if error.problem.kind == "not_found":
                return answer_json({})
            raise
        if state in ("waiting", "running"):
            return answer_json({})
        status: dict[str, object] = {"status_str": "success", "completed": True, "messages": []}
        if state == "unknown":
            status = {"status_str": "postponed", "completed": False, "messages": []}
        if state == "failed":
            broken = {"node_type": "KSampler", "exception_message": "CUDA out of memory", "exception_type": "OOM"}
            status = {"status_str": "error", "completed": False, "messages": [["execution_error", broken]]}
        files = [
            {"filename": f"lora-harness_{task.id}_{number:05}_.png", "subfolder": "", "type": "output"}
            for number in range(len(task.pictures or ()))
        ]
        outputs = {save_node(task.extra["graph"]): {"images": files}} if files and state == "done" else {}
        if task.asked.fault == "cached" and state == "done":  # the same graph again: every node's result is remembered
            outputs, nodes = {}, list(task.extra["graph"])
            status["messages"] = [["execution_cached", {"nodes": nodes, "prompt_id": task.id}]]
        entry = {"prompt": [1, task.id, task.extra["graph"], {}, []], "outputs": outputs, "status": status, "meta": {}}
        return answer_json({task.id: entry})

    @route("GET", "/view")
    def view(self, asked: Asked) -> Answer:
        name, kind = asked.query.get("filename", ""), asked.query.get("type", "output")
        if not name or ".." in name or kind != "output":
            return Answer(400)
        task_id, _, number = name.removeprefix("lora-harness_").removesuffix("_.png").partition("_")
        pictures = self.find(task_id).pictures or []
        if not number.isdigit() or int(number) >= len(pictures):
            raise Rejected(Problem("not_found", ""))
        picture = pictures[int(number)]
        return Answer(200, picture.data, {"Content-Type": picture.mime})

    def problem(self, problem: Problem) -> Answer:
        if problem.kind == "retired":
            detail = f"ckpt_name: 'gone.safetensors' not in {list(CHECKPOINTS)}"
            return refuse_graph(
                {"1": {"class_type": "CheckpointLoaderSimple"}}, {"1": [fault("value_not_in_list", detail)]}
            )
        if problem.kind in ("invalid", "rate"):
            fields = {**fault(problem.code or "invalid_prompt"), "message": problem.message}
            return answer_json({"error": fields, "node_errors": {}}, problem.http)
        text = f"{problem.http}: {problem.message}"  # aiohttp's own pages
        return Answer(problem.http, text.encode(), {"Content-Type": "text/plain; charset=utf-8"})


def fault(kind: str, details: str = "") -> dict[str, object]:
    return {"type": kind, "message": kind.replace("_", " ").capitalize(), "details": details, "extra_info": {}}


def refuse_graph(graph: Mapping[str, Any], errors: Mapping[str, list[dict[str, object]]]) -> Answer:
    """400, with what is wrong at each node."""
    nodes = {
        number: {"errors": result, "dependent_outputs": [], "class_type": graph[number].get("class_type")}
        for number, result in errors.items()
    }
    return answer_json({"error": fault("prompt_outputs_failed_validation"), "node_errors": nodes}, 400)


def check_node(graph: Mapping[str, object], node: Any) -> list[dict[str, object]]:
    """What is wrong with one node."""
    if not isinstance(node, dict) or node.get("class_type") not in NODES:
        return [fault("missing_node_type", str(node.get("class_type") if isinstance(node, dict) else node))]
    inputs, errors = node.get("inputs", {}), []
    for name in NODES[node["class_type"]]:
        value = inputs.get(name)
        if value is None:
            errors.append(fault("required_input_missing", name))
        elif isinstance(value, list):
            if len(value) != 2 or value[0] not in graph:
                errors.append(fault("bad_linked_input", name))
        elif name in LISTS and value not in LISTS[name]:
            errors.append(fault("value_not_in_list", f"{name}: {value!r} not in {list(LISTS[name])}"))
        elif name in RANGES and not in_range(value, *RANGES[name]):
            errors.append(fault("invalid_input_type", f"{name}, {value!r}"))
    return errors


def in_range(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def first_of(graph: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The inputs of the first node of a class.

    Raises:
        Rejected: there is none, so the graph has no output.
    """
    result = next((node["inputs"] for node in graph.values() if node["class_type"] == kind), None)
    if result is None or not any(node["class_type"] == "SaveImage" for node in graph.values()):
        raise Rejected(Problem("invalid", "Prompt has no outputs", code="prompt_no_outputs"))
    return dict(result)


def save_node(graph: Mapping[str, Any]) -> str:
    return next(number for number, node in graph.items() if node["class_type"] == "SaveImage")


SERVICE = ComfyUI
