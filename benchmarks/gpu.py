"""SDXL at full size with random weights on this device: pictures and training steps a second, beside its ceiling.

Everything is drawn and trained by the harness's own pipeline and loop. Random weights draw noise, and do the same work
as trained ones. Without a GPU only `--quick` runs: a tiny model on the CPU, which shows that it runs, and no figure.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.sdxl import SDXL, TINY, Architecture, make_pipeline, make_unet, make_vae, unet_inputs, write_lora
from harness.core.values import Lora, Request
from harness.models.identity import quiet_libraries
from harness.models.lora.train_config import TrainConfig
from harness.models.pipeline import LocalPipeline
from harness.training.adapter import add_lora

BATCHES, QUICK_BATCHES = (1, 2, 4, 8), (1, 4)
STEPS, GUIDANCE = 30, 5.0
REPEATS = 3  # drawings of a batch after it is warm
TRAIN_STEPS, TRAIN_BATCH = 20, 4
SIDE = 8192  # of the square matrices whose product is the ceiling
TERA, GIB = 1e12, 2**30


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, help="pixels a side (default: 1024)")
    parser.add_argument("--quick", action="store_true", help="fewer batches and repeats; on a CPU a tiny model")
    parser.add_argument("--compile", choices=["auto", "yes", "no"], default="auto", help="auto: on CUDA")
    parser.add_argument("--vae", choices=["float32", "bfloat16"], default="bfloat16", help="default: bfloat16")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of generation, of swapping, and of training."""
    device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "cpu" and not options.quick:
        raise SystemExit("benchmarks gpu: there is no GPU here; --quick runs a tiny model on the CPU, as a smoke test")
    bench = Bench(device, options)
    bench.introduce()
    figures: dict[str, Any] = {"device": bench.name, "gpu": device != "cpu", "ceiling_tflops": bench.ceiling}
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        figures |= bench.draw_all(Path(folder))
        figures |= bench.train(Path(folder))
    if device == "cpu":
        print("NOT A GPU FIGURE: a tiny model on a CPU; it shows only that everything here runs")
    return figures


class Bench:
    """One device, one architecture."""

    def __init__(self, device: str, options: argparse.Namespace) -> None:
        self.device, self.quick = device, bool(options.quick)
        self.architecture: Architecture = SDXL if device != "cpu" else TINY
        self.size = options.size or self.architecture.size
        self.dtype = torch.bfloat16 if device != "cpu" else torch.float32
        self.vae_dtype = getattr(torch, options.vae)
        self.compiled = options.compile == "yes" or (device == "cuda" and options.compile == "auto")
        self.steps = STEPS if device != "cpu" else 3
        self.name = torch.cuda.get_device_name() if device == "cuda" else device.upper()
        self.ceiling = round(matmul_ceiling(device, self.dtype), 3)
        self.flops = count_flops(self.architecture, self.size)

    def introduce(self) -> None:
        flops, kind = self.flops, str(self.dtype).removeprefix("torch.")
        print(f"method: {self.architecture.name}, random weights, {kind}, {self.size} px, {self.steps} steps with CFG;")
        print(
            f"  whole-module static compile: {'yes' if self.compiled else 'no'}; the harness's own pipeline and loop;"
        )
        print(f"  median of {self.repeats} drawings after a warm-up, one LoRA of rank 16 on; VAE in {self.vae_dtype};")
        print("  work by torch's FlopCounterMode, the LoRA's not counted in drawing")
        print(f"device: {self.name}; a {kind} product of large matrices reaches {self.ceiling:g} TFLOP/s, the ceiling")
        named = {"UNet, a row": "unet", "VAE, a picture": "vae", "training, a sample": "train"}
        print("work in TFLOP: " + ", ".join(f"{name} {flops[key] / TERA:.3f}" for name, key in named.items()))

    @property
    def repeats(self) -> int:
        return 1 if self.quick else REPEATS

    # --- drawing ----------------------------------------------------------------------------------------------------

    def draw_all(self, folder: Path) -> dict[str, Any]:
        pipe = make_pipeline(self.architecture, self.device, self.dtype, self.vae_dtype)
        pipeline = LocalPipeline(pipe, self.device, self.compiled)
        loras = [Lora(write_lora(self.architecture, folder / f"{seed}.safetensors", seed)) for seed in (1, 2)]
        pipeline.loras.use(loras[0])
        heads = ("batch", "first s", "s/draw", "s/picture", "pictures/s", "of ceiling", "GiB")
        print("\n" + " ".join(f"{head:>10}" for head in heads))
        work = 2 * self.steps * self.flops["unet"] + self.flops["vae"]
        figures: dict[str, Any] = {}
        for batch in QUICK_BATCHES if self.quick else BATCHES:
            first, seconds, peak = self.time_batch(pipeline, batch, loras[0])
            share = work * batch / seconds / TERA / self.ceiling
            row = (f"{first:.1f}", f"{seconds:.3f}", f"{seconds / batch:.3f}", f"{batch / seconds:.3f}", f"{share:.1%}")
            print(" ".join(f"{value:>10}" for value in (batch, *row, f"{peak:.1f}")))
            figures |= {f"images_per_s_b{batch}": round(batch / seconds, 4), f"share_b{batch}": round(share, 4)}
            figures |= {f"s_per_picture_b{batch}": round(seconds / batch, 4), f"peak_gib_b{batch}": round(peak, 2)}
        figures |= self.swap(pipeline, loras)
        del pipeline, pipe
        free()
        return figures

    def time_batch(self, pipeline: LocalPipeline, batch: int, lora: Lora) -> tuple[float, float, float]:
        """Seconds of the first drawing (which compiles), of a later one, and the peak memory in GiB."""
        requests = [self.request(seed, batch) for seed in range(batch)]
        first = timed(self.device, lambda: pipeline.draw(requests, lora))
        reset_peak(self.device)
        seconds = [timed(self.device, lambda: pipeline.draw(requests, lora)) for _ in range(self.repeats)]
        return first, statistics.median(seconds), peak_gib(self.device)

    def request(self, seed: int, batch: int) -> Request:
        return Request(
            "local/1", "random", "aldar kose, smiling", seed, self.size, self.size, steps=self.steps,
            guidance=GUIDANCE, scheduler="euler", dtype=str(self.dtype), batch=batch,
        )  # fmt: skip

    def swap(self, pipeline: LocalPipeline, loras: Sequence[Lora]) -> dict[str, Any]:
        """Other LoRAs, mixes and strengths in a warm pipeline: how long a change takes, and what is compiled anew."""
        one, two = loras
        changes = {
            "strength 0.5": Lora(one.path, 0.5),
            "strength 1.2": Lora(one.path, 1.2),
            "another LoRA": two,
            "both": Lora(one.path, 0.8, (Lora(two.path, 0.5),)),
            "none": None,
            "the first again": one,
        }
        requests = [self.request(0, 1)]
        pipeline.draw(requests, changes["both"])  # the widest: from here on nothing needs a wider place
        before, spent = graphs(), []
        print(f"\n{'change':16} {'ms':>8}")
        for name, lora in changes.items():
            seconds = timed(self.device, lambda lora=lora: pipeline.loras.use(lora))  # type: ignore[misc]
            pipeline.draw(requests, lora)
            spent.append(seconds)
            print(f"{name:16} {seconds * 1000:8.1f}")
        recompiles = graphs() - before
        said = "" if self.compiled else " (nothing is compiled in this run)"
        print(f"compiled anew by {len(changes)} changes: {recompiles}{said}")
        return {
            "recompiles": recompiles,
            "compiled": self.compiled,
            "swap_ms": round(1000 * statistics.median(spent), 2),
        }

    # --- training ---------------------------------------------------------------------------------------------------

    def train(self, folder: Path) -> dict[str, Any]:
        """Steps of the harness's own loop: LoRA of rank 16 on the attention layers, no checkpointing, no prior."""
        loop = self.make_loop(folder)
        first = timed(self.device, lambda: loop.step(0))
        reset_peak(self.device)
        count = 5 if self.quick else TRAIN_STEPS
        seconds = timed(self.device, lambda: [loop.step(step) for step in range(1, count + 1)]) / count
        share = self.flops["train"] * TRAIN_BATCH / seconds / TERA / self.ceiling
        peak = peak_gib(self.device)
        print(f"\ntraining, batch {TRAIN_BATCH}: first step {first:.1f} s, then {1 / seconds:.3f} steps/s,")
        print(f"  {TRAIN_BATCH / seconds:.2f} samples/s, {share:.1%} of the ceiling, {peak:.1f} GiB at the peak")
        return {
            "steps_per_s": round(1 / seconds, 4),
            "samples_per_s": round(TRAIN_BATCH / seconds, 4),
            "train_share": round(share, 4),
            "train_peak_gib": round(peak, 2),
        }

    def make_loop(self, folder: Path) -> Any:
        from diffusers import DDPMScheduler

        from harness.training.distributed import ProcessGroup
        from harness.training.loop import Loop, Setup
        from harness.world.base import build_scheduler

        config = TrainConfig(
            batch=TRAIN_BATCH, prior_weight=0.0, caption_dropout=0.0, compile=self.compiled, validate_every=0
        )
        unet = make_unet(self.architecture, self.device, self.dtype).train()
        unet.to(memory_format=torch.channels_last)
        add_lora(unet, config)
        data, texts = self.make_data()
        schedule = DDPMScheduler.from_config(build_scheduler().config)
        processes = ProcessGroup(device=self.device)
        return Loop(Setup(config, data, texts, {"unet": unet}, schedule, self.dtype, folder, "", {}, processes))

    def make_data(self) -> tuple[Any, Any]:
        """Eight random pictures, as if they were encoded."""
        from harness.training.data import Item, TrainingSet, View
        from harness.training.prompt_encoding import Embedding, KnownTexts

        side = self.size // 8
        ids = torch.tensor([self.size, self.size, 0, 0, self.size, self.size], dtype=torch.float32)
        items = tuple(
            Item(f"{number}.png", (View(torch.randn(4, side, side), ids),), ("said",), "unsaid") for number in range(8)
        )
        width, pooled = self.architecture.unet["cross_attention_dim"], self.architecture.text_2["projection_dim"]
        text = Embedding(torch.randn(self.architecture.window, width), torch.randn(pooled))
        return TrainingSet(items), KnownTexts({"said": text, "unsaid": text}, text)


# --- measuring ------------------------------------------------------------------------------------------------------


def matmul_ceiling(device: str, dtype: torch.dtype) -> float:
    """TFLOP/s of the fastest of ten products of large square matrices: no model can do better."""
    side = SIDE if device != "cpu" else 1024
    one, two = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    times = [timed(device, lambda: one @ two) for _ in range(10)]
    return 2 * side**3 / min(times) / TERA


def count_flops(architecture: Architecture, size: int) -> dict[str, float]:
    """Floating point operations of the UNet for one row, of decoding a picture, and of training on one sample."""
    given, named = unet_inputs(architecture, 1, size // 8, "meta")
    unet, vae = make_unet(architecture, "meta", torch.float32), make_vae(architecture, "meta", torch.float32)
    latents = torch.randn(1, 4, size // 8, size // 8, device="meta")
    forward = counted(lambda: unet(*given, **named))
    decode = counted(lambda: vae.decode(latents))
    add_meta_lora(unet)
    train = counted(lambda: unet(*given, **named)[0].square().mean().backward())
    return {"unet": forward, "vae": decode, "train": train}


def add_meta_lora(unet: Any) -> None:
    from peft import LoraConfig

    with torch.device("meta"):
        unet.add_adapter(LoraConfig(r=16, lora_alpha=16, target_modules=list(TrainConfig().target_modules)))


def counted(work: Callable[[], Any]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def timed(device: str, work: Callable[[], Any]) -> float:
    """Seconds, until the device is done."""
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()


def reset_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: str) -> float:
    """Of the card; elsewhere what is in use now."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / GIB
    if device == "mps":
        return torch.mps.driver_allocated_memory() / GIB
    import psutil

    return float(psutil.Process().memory_info().rss) / GIB


def graphs() -> int:
    """Graphs that torch.compile made so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def free() -> None:
    """Between two models: the card's memory is given back, and what was compiled for the first is forgotten."""
    gc.collect()
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
