"""What profiles, suites and the command line say of drawing: read at collection, refused with the nearest spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.profile import load_profile, local_options
from harness.config.suite import load_suite
from harness.core.errors import SuiteError, UsageError
from harness.core.settings import Settings
from tests.test_profile import TEXT, WORDS

SUITE = """\
version: 1
suite: demo
subject: {name: Aldar Kose, trigger: aldar kose, references: pictures, impostors: others}
providers: [lora, base, gemini]
gate: [lora]
cases: [{id: one, prompt: "{trigger}, smiling"}]
"""
PROVIDERS = "  lora: {adapter: local}\n  gemini: {adapter: gemini}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("others", "pictures/train"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "words.yaml").write_text(WORDS, encoding="utf-8")
    return tmp_path


def write(folder: Path, text: str) -> str:
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return "mine.yaml"


def test_a_provider_says_over_the_profile_how_it_draws(folder: Path) -> None:
    more = (
        "  fast: {adapter: local, use: lora, scheduler: {name: lcm, lora: lcm.safetensors}, steps: 6, guidance: 1.5}\n"
        "  inked: {adapter: local, use: lora, clip_skip: 1, "
        "loras: [ink.safetensors, {file: b.safetensors, strength: 0.6}]}\n"
    )
    text = TEXT + more + "scheduler: {name: euler, timestep_spacing: trailing}\nguidance_rescale: 0.7\nsteps: 25\n"
    profile = load_profile(write(folder, text), folder)

    base, fast, inked = (local_options(profile, name) for name in ("base", "fast", "inked"))

    assert (base.scheduling.name, base.scheduling.options, base.steps) == (
        "euler",
        {"timestep_spacing": "trailing"},
        25,
    )
    assert (fast.scheduling.name, fast.scheduling.options, fast.steps, fast.guidance) == ("lcm", {}, 6, 1.5)
    assert [lora.path.name for lora in fast.company] == ["lcm.safetensors"] and not base.company
    assert [(lora.path.name, lora.strength) for lora in inked.company] == [
        ("ink.safetensors", 1),
        ("b.safetensors", 0.6),
    ]
    assert inked.guidance_rescale == 0.7 and inked.clip_skip == 1 and inked.company[0].path.parent == folder.resolve()


WRONG = {
    "scheduler: eular_a": r":9: scheduler: no scheduler called 'eular_a'; did you mean 'euler_a'\?",
    "scheduler: {name: lmc}": "scheduler.name: no scheduler called 'lmc'; did you mean 'lcm'",
    "scheduler: {name: ddim, use_karras_sigmas: true}": "scheduler.use_karras_sigmas: ddim has no option called",
    "scheduler: {name: euler, timestep_spacing: traling}": "one of leading, linspace, trailing",
    "scheduler: {name: dpmpp_2m_karras, use_beta_sigmas: true}": "only one of",
    "scheduler: {name: dpmpp_2m_sde, solver_order: 3}": "order 1 or 2",
    "scheduler: {name: euler, rescale_betas_zero_snr: true, prediction_type: epsilon}": "needs v_prediction",
    "scheduler: {name: lcm, lora: lcm.ckpt}": "could run code|can run code",
    "scheduler: {timestep_spacing: trailing}": "scheduler.name: Field required|name",
    "scheduler: lcm\nsteps: 60": "lcm takes 50 steps at most",
    "clip_skip: 0": "clip_skip",
    "  x: {adapter: local, use: bas}": r":9: providers.x.use: no use called 'bas'; did you mean 'base'",
    "  x: {adapter: local, use: base, schedular: euler}": "did you mean 'scheduler'",
    "  x: {adapter: local, use: base, scheduler: {name: dppm_2m}}": "providers.x.scheduler.name: .*'dpmpp_2m'",
    "  x: {adapter: local, use: base, steps: 2.5}": "a whole number from 1 to 1000",
    "  x: {adapter: local, use: base, loras: a.safetensors}": "a list of LoRAs",
    "  x: {adapter: local, use: base, loras: [{file: a.safetensors, strenght: 1}]}": "did you mean 'strength'",
    "  x: {adapter: local, use: base, loras: [{file: a.safetensors, strength: 9}]}": "between 0 and 4",
    "  x: {adapter: local, use: base, loras: [a.safetensors, a.safetensors]}": "stands here twice",
    "  x: {adapter: local, use: base, scheduler: lcm, steps: 80}": "lcm takes 50 steps",
    "  x: {adapter: local, use: base, clip_skip: 1}\nprompts: weighted": "clip_skip 2 only",
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=str)
def test_what_cannot_be_is_told_while_the_profile_is_read(text: str, folder: Path) -> None:
    with pytest.raises(SuiteError, match=f"(?s)mine.yaml.*({WRONG[text]})"):
        load_profile(write(folder, TEXT + text + "\n"), folder)


def test_a_suites_loras_are_relative_to_it(folder: Path) -> None:
    profile = load_profile(write(folder, TEXT + PROVIDERS), folder)
    (folder / "demo.yaml").write_text(SUITE + "loras: {lora: [{file: ink.safetensors, strength: 0.6}]}\n")

    loras = load_suite(folder / "demo.yaml", profile).loras["lora"]

    assert [(lora.path, lora.strength) for lora in loras] == [(folder.resolve() / "ink.safetensors", 0.6)]


@pytest.mark.parametrize(
    ("loras", "said"),
    [
        ("{lra: [a.safetensors]}", "loras.lra: no provider called 'lra'.*did you mean 'lora'"),
        ("{gemini: [a.safetensors]}", "'gemini' does not draw on this machine"),
        ("{lora: [a.ckpt]}", "a LoRA is a .safetensors file"),
    ],
)
def test_a_suites_wrong_loras_are_refused(loras: str, said: str, folder: Path) -> None:
    profile = load_profile(write(folder, TEXT + PROVIDERS), folder)
    (folder / "demo.yaml").write_text(SUITE + f"loras: {loras}\n")

    with pytest.raises(SuiteError, match=said):
        load_suite(folder / "demo.yaml", profile)


# --- --lora ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("a.safetensors", "b.safetensors", "a+b.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_the_first_of_several_is_under_test_and_the_others_go_along(files: Path) -> None:
    settings = Settings.load(files, {"lora": "a.safetensors@0.8+b.safetensors@0.5"})

    assert settings.lora is not None and (settings.lora.path.name, settings.lora.strength) == ("a.safetensors", 0.8)
    assert not settings.lora.beside
    assert [(lora.path.name, lora.strength) for lora in settings.beside] == [("b.safetensors", 0.5)]


def test_one_is_said_as_ever_and_a_plus_may_be_in_its_name(files: Path) -> None:
    for text, name, strength in (
        ("a.safetensors", "a", 1),
        ("a.safetensors@0.5", "a", 0.5),
        ("a+b.safetensors@2", "a+b", 2),
    ):
        settings = Settings.load(files, {"lora": text})

        assert settings.lora is not None and settings.lora.path.stem == name and settings.lora.strength == strength
        assert settings.beside == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.safetensors+a.safetensors@0.5", "twice"),
        ("a.safetensors+c.safetensors", "no file"),
        ("a.safetensors@much+b.safetensors", "must be a number"),
    ],
)
def test_a_wrong_mix_says_what_is_wrong_with_it(text: str, said: str, files: Path) -> None:
    with pytest.raises(UsageError, match=f"--lora .*{said}"):
        Settings.load(files, {"lora": text})
