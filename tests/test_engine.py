from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.core.errors import EngineError, HarnessError, LoraError, StoreError
from harness.core.pictures import BadPicture, check_picture
from harness.core.values import Case, Decision, Generation, Job, Lora, Outcome, Progress, Request, Score, Threshold
from harness.engine.context import ImproveContext, ImproveResult
from harness.engine.plan import build_plan, chunks, lanes, tasks_of
from harness.engine.run import Run
from harness.judging.record import parse_results
from harness.store import Store
from tests.painter import SIZE, Studio, make_profile, png, shades

LOCAL = Request("local/1", "base", "a person", 0, SIZE, SIZE)
REMOTE = replace(LOCAL, adapter="http/1")
Opener = Callable[..., Run]


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def opened(studio: Studio) -> Iterator[Opener]:
    """Opens runs over the studio and closes them in the end."""
    runs: list[Run] = []

    def open_run(**keys: Any) -> Run:
        runs.append(studio.run(**keys))
        return runs[-1]

    yield open_run
    for run in runs:
        run.close()


def submitted(run: Run, jobs: Sequence[Job]) -> Run:
    run.submit(jobs)
    return run


# --- what comes from providers ------------------------------------------------------------------------------------


def noise(size: tuple[int, int] = (SIZE, SIZE), kind: str = "PNG") -> bytes:
    return png(Image.effect_noise(size, 60).convert("RGB"), kind)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_kept_as_png_of_its_pixels_alone(kind: str) -> None:
    picture = check_picture(noise(kind=kind), REMOTE)

    image = Image.open(io.BytesIO(picture.png))
    assert (image.format, image.size, image.info) == ("PNG", (SIZE, SIZE), {})
    assert picture.original is None


def test_metadata_do_not_enter_the_store() -> None:
    image = Image.effect_noise((SIZE, SIZE), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x010E] = "somebody's home address"
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)

    assert b"home address" not in check_picture(buffer.getvalue(), LOCAL).png


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no bytes"),
        (b"<!doctype html><p>Sorry", "is text"),
        (b'{"error": "no"}', "is text"),
        (b"GIF89a" + b"\0" * 50, "is not PNG"),
        (noise()[:300], "cannot be decoded"),
        (png(Image.new("RGB", (SIZE, SIZE), "gray")), "one colour"),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadPicture, match=reason):
        check_picture(data, REMOTE)


def test_a_picture_of_50000_pixels_a_side_is_refused_before_it_is_decoded() -> None:
    small = png(Image.new("1", (8, 8)))
    bomb = bytearray(small)
    bomb[16:24] = (50_000).to_bytes(4, "big") * 2
    import zlib

    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")

    with pytest.raises(BadPicture, match=r"pixels|decoded"):
        check_picture(bytes(bomb), REMOTE)


def test_a_blank_from_a_model_on_this_machine_passes_on_to_the_metrics() -> None:
    assert check_picture(png(Image.new("RGB", (SIZE, SIZE))), LOCAL).png


def test_another_size_is_fitted_from_a_service_and_refused_from_a_model() -> None:
    data = noise((40, 20))

    picture = check_picture(data, REMOTE)

    assert Image.open(io.BytesIO(picture.png)).size == (SIZE, SIZE)
    assert picture.original and Image.open(io.BytesIO(picture.original)).size == (40, 20)
    assert picture.meta == {"original_size": [40, 20]}
    with pytest.raises(BadPicture, match="40x20, not 16x16"):
        check_picture(data, LOCAL)


# --- the plan -----------------------------------------------------------------------------------------------------


def test_the_plan_does_not_depend_on_the_order_of_collection(studio: Studio) -> None:
    suite, jobs = studio.suite, studio.jobs()
    suites = {suite.path.as_posix(): suite}
    painters = {name: studio.open_provider(name, studio.settings()) for name in suite.providers}

    def keys(jobs: Sequence[Job]) -> list[list[str]]:
        tasks = tasks_of(build_plan(jobs, suites, lambda name, suite: painters[name]))
        return [[task.request.key for task in chunk] for chunk in chunks(tasks)]

    assert keys(jobs) == keys(jobs[::-1])
    assert len(keys(jobs)) == 8  # 2 providers x 4 cases x 2 seeds, 2 a batch


def test_equal_requests_are_drawn_once_and_neighbours_share_a_lora(studio: Studio) -> None:
    studio.painters = {"lora": {"use": "lora"}, "base": {}, "twin": {}}
    suite = studio.suite
    suites = {suite.path.as_posix(): suite}
    painters = {name: studio.open_provider(name, studio.settings()) for name in suite.providers}

    tasks = tasks_of(build_plan(studio.jobs(), suites, lambda name, suite: painters[name]))

    assert len(tasks) == 16
    assert [bool(task.request.lora) for task in tasks] == [False] * 8 + [True] * 8


def test_services_draw_beside_this_machine(studio: Studio) -> None:
    studio.painters = {"lora": {"use": "lora"}, "base": {}, "cloud": {"adapter": "http/1", "batch": 1}}
    suite = studio.suite
    painters = {name: studio.open_provider(name, studio.settings()) for name in suite.providers}
    plan = build_plan(studio.jobs(), {suite.path.as_posix(): suite}, lambda name, suite: painters[name])

    found = {tuple(sorted({task.provider.name for task in lane})) for lane in lanes(tasks_of(plan))}

    assert found == {("base", "lora"), ("cloud",)}


# --- drawing and the store ----------------------------------------------------------------------------------------


def test_a_run_draws_scores_and_judges(studio: Studio, opened: Opener) -> None:
    run = submitted(opened(), studio.jobs())
    job = studio.jobs("lora")[0]

    result = run.result(job)

    assert [sample.seed for sample in result.samples] == [0, 1]
    assert result.samples[0].scores["quality"].value == pytest.approx(0.9, abs=0.02)
    assert run.verdict(job).decision is Decision.PASS
    assert run.verdict(studio.jobs("base")[0]).decision is Decision.FAIL
    assert run.gate(job.path, "lora").decision is Decision.PASS
    assert (run.usage.images_generated, run.usage.images_cached) == (16, 0)


def test_a_second_run_draws_and_scores_nothing(studio: Studio, opened: Opener) -> None:
    first = submitted(opened(), studio.jobs())
    first.wait()
    first.close()
    looked = len(studio.scorer.looked)

    second = submitted(opened(), studio.jobs())

    assert [second.result(job).samples[0].cached for job in studio.jobs()] == [True] * 8
    assert (second.usage.images_generated, second.usage.images_cached) == (0, 16)
    assert len(studio.drawn) == 16
    assert len(studio.scorer.looked) == looked


def test_fresh_draws_and_scores_again(studio: Studio, opened: Opener) -> None:
    submitted(opened(), studio.jobs()).wait()

    run = submitted(opened(fresh=True), studio.jobs())
    run.wait()

    assert run.usage.images_generated == 16
    assert len(studio.drawn) == 32


def test_another_scorer_scores_again_and_draws_nothing(studio: Studio, opened: Opener) -> None:
    submitted(opened(), studio.jobs()).wait()
    looked = len(studio.scorer.looked)
    studio.scorer.identity = "brightness/2"

    submitted(opened(), studio.jobs()).wait()

    assert len(studio.drawn) == 16
    assert len(studio.scorer.looked) == 2 * looked


def test_what_a_case_expects_is_part_of_its_scores_key(studio: Studio, opened: Opener) -> None:
    studio.cases = 1
    submitted(opened(), studio.jobs()).wait()
    expecting = replace(studio.suite.cases[0], expect={"place": "steppe"})
    run = opened(suites=[replace(studio.suite, cases=(expecting,))])

    submitted(run, studio.jobs()).wait()

    assert len(studio.drawn) == 4
    assert studio.scorer.looked == ["case-0"] * 8


def test_a_poisoned_picture_is_drawn_again_and_told_of(studio: Studio, opened: Opener) -> None:
    first = submitted(opened(), studio.jobs())
    image = first.result(studio.jobs("lora")[1]).samples[0].image
    first.wait()
    first.store.image_path(image or "").write_bytes(shades(0.1, 0))

    run = submitted(opened(), studio.jobs())
    run.wait()

    assert run.usage.images_generated == 1
    assert "drawn again" in run.finish().run.warnings[0]


@pytest.mark.parametrize("outcome", ["refused", "quota", "timeout"])
def test_failures_are_asked_for_again_in_the_next_run(studio: Studio, opened: Opener, outcome: str) -> None:
    no = Generation(Outcome(outcome), message="not today")
    studio.painters["base"]["trouble"] = lambda requests: no if requests[0].seed == 1 else None
    run = submitted(opened(), studio.jobs())

    result = run.result(studio.jobs("base")[0])

    assert [sample.outcome.value for sample in result.samples] == ["ok", outcome]
    assert result.samples[1].scores == {}
    assert run.verdict(result.job).decision is Decision.ERROR
    run.wait()
    run.close()
    del studio.painters["base"]["trouble"]
    again = submitted(opened(), studio.jobs())
    again.wait()
    assert again.usage.images_generated == 4


def test_a_competitors_failure_never_becomes_a_score(studio: Studio, opened: Opener) -> None:
    no = Generation(Outcome.QUOTA, message="out of credit")
    studio.painters["base"]["trouble"] = lambda requests: no
    run = submitted(opened(), studio.jobs())
    run.wait()
    run.gate(studio.suite.path.as_posix(), "lora")

    record = run.finish()

    base = next(row for row in record.leaderboard if row.provider == "base")
    assert base.quality is None
    assert base.outcomes == {"quota": 8}
    assert record.gate.verdict == "pass"


def test_bad_bytes_from_a_service_are_bad_image(studio: Studio, opened: Opener) -> None:
    studio.painters["cloud"] = {"adapter": "http/1", "batch": 1, "trouble": lambda _: Generation(Outcome.OK, b"<html>")}
    run = submitted(opened(), studio.jobs())

    sample = run.result(studio.jobs("cloud")[0]).samples[0]

    assert (sample.outcome, sample.image) == (Outcome.BAD_IMAGE, None)
    assert "is text" in sample.message


def test_a_gate_provider_that_breaks_is_an_error_not_a_failure(studio: Studio, opened: Opener) -> None:
    def broken(requests: Sequence[Request]) -> Generation | None:
        raise LoraError("x.safetensors: 3 keys have no place in the model")

    studio.painters["lora"]["trouble"] = broken
    run = submitted(opened(), studio.jobs())

    assert run.verdict(studio.jobs("lora")[0]).decision is Decision.ERROR
    gate = run.gate(studio.suite.path.as_posix(), "lora")
    assert gate.decision is Decision.ERROR
    assert "3 keys" in gate.complaints[0].message
    assert run.result(studio.jobs("base")[0]).outcome is Outcome.OK


def test_a_provider_without_its_key_is_skipped_with_the_variable(studio: Studio, opened: Opener) -> None:
    studio.painters["cloud"] = {"adapter": "http/1", "needs": "CLOUD_KEY"}
    run = submitted(opened(), studio.jobs())

    result = run.result(studio.jobs("cloud")[0])

    assert "CLOUD_KEY" in result.skipped
    assert result.samples == ()


def test_an_unknown_provider_is_an_error_of_its_own_jobs(studio: Studio, opened: Opener) -> None:
    def open_one(name: str, settings: Any) -> Any:
        if name == "base":
            raise HarnessError("no provider called 'base'")
        return studio.open_provider(name, settings)

    run = submitted(opened(providers=open_one), studio.jobs())

    assert run.result(studio.jobs("base")[0]).samples[0].outcome is Outcome.PROVIDER_ERROR
    assert run.verdict(studio.jobs("lora")[0]).decision is Decision.PASS


# --- memory, death, cancelling ------------------------------------------------------------------------------------


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize("error", [OutOfMemoryError("CUDA"), RuntimeError("MPS backend out of memory"), MemoryError()])
def test_out_of_memory_halves_the_batch_and_goes_on(studio: Studio, opened: Opener, error: Exception) -> None:
    def tight(requests: Sequence[Request]) -> None:
        if len(requests) > 2:
            raise error

    studio.painters = {"lora": {"use": "lora", "batch": 8, "trouble": tight}}
    run = submitted(opened(), studio.jobs())
    run.wait()

    assert run.usage.images_generated == 8 + 2  # two controls
    assert {sample.outcome for job in studio.jobs() for sample in run.result(job).samples} == {Outcome.OK}
    assert studio.opened["lora", None].calls == [8, 4, 2, 2, 2, 2]


def test_no_memory_for_a_single_picture_is_a_clear_error(studio: Studio, opened: Opener) -> None:
    def never(requests: Sequence[Request]) -> None:
        raise OutOfMemoryError("tried to allocate 9 GiB")

    studio.painters["base"]["trouble"] = never
    run = submitted(opened(), studio.jobs())

    sample = run.result(studio.jobs("base")[0]).samples[0]

    assert sample.outcome is Outcome.PROVIDER_ERROR
    assert "batch of 1" in sample.message
    assert "9 GiB" in sample.message


def test_a_dead_engine_makes_every_waiting_test_an_error(studio: Studio, opened: Opener) -> None:
    run = opened()

    def full(png: bytes) -> str:
        raise StoreError("no space left on device; free some space, or use --store DIR")

    run.store.put_image = full  # type: ignore[method-assign]
    run.submit(studio.jobs())

    for job in studio.jobs()[:2]:
        with pytest.raises(EngineError, match=r"the engine died: .*--store DIR"):
            run.verdict(job)
    assert run.finish().gate.verdict == "error"


def test_a_scorer_that_breaks_is_an_error_of_its_suite(studio: Studio, opened: Opener) -> None:
    def broken(items: object) -> list[dict[str, Score]]:
        raise ValueError("shapes do not match")

    studio.scorer.score = broken  # type: ignore[method-assign, assignment]
    run = submitted(opened(), studio.jobs())

    with pytest.raises(EngineError, match="shapes do not match"):
        run.result(studio.jobs()[0])
    assert run.finish().gate.verdict == "error"


def test_cancelling_releases_whoever_waits_and_keeps_what_was_drawn(studio: Studio, opened: Opener) -> None:
    studio.painters["base"]["delay"] = 0.3
    run = submitted(opened(), studio.jobs())
    threading.Timer(0.7, run.cancel).start()
    started = time.monotonic()

    with pytest.raises(EngineError, match="cancelled"):
        run.wait()

    assert time.monotonic() - started < 3
    run.close()
    first = len(studio.drawn)
    assert 0 < first < 16
    studio.painters["base"]["delay"] = 0
    submitted(opened(), studio.jobs()).wait()
    assert len(studio.drawn) == 16


def test_a_job_that_nobody_submitted_is_said_so(studio: Studio, opened: Opener) -> None:
    with pytest.raises(EngineError, match="never submitted"):
        opened().result(studio.jobs()[0])


KILLED = """
import sys
from pathlib import Path
from tests.painter import Studio
studio = Studio(Path(sys.argv[1]))
for keys in studio.painters.values():
    keys["delay"] = float(sys.argv[2])
run = studio.run()
run.submit(studio.jobs())
run.wait()
print(run.usage.images_generated, run.usage.images_cached, flush=True)
run.close()
"""


def in_a_process(folder: Path, delay: float) -> subprocess.Popen[str]:
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", KILLED, str(folder), str(delay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)


def test_after_a_kill_nothing_is_drawn_twice(studio: Studio) -> None:
    with in_a_process(studio.folder, 0.2) as first:
        deadline = time.monotonic() + 60
        while len(studio.drawn) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        first.kill()
    before = len(studio.drawn)
    assert 5 <= before < 16

    with in_a_process(studio.folder, 0) as second:
        made, cached = map(int, (second.stdout.read() if second.stdout else "").split())

    assert made + cached == 16
    assert len(studio.drawn) - before == made
    assert made <= 16 - before + 1  # at most the one that was being stored when the process died
    keys = [line.split()[-1] for line in studio.drawn]
    assert len(keys) - len(set(keys)) <= 1


def test_two_runs_at_once_draw_every_picture_once(studio: Studio) -> None:
    with in_a_process(studio.folder, 0.05) as one, in_a_process(studio.folder, 0.05) as two:
        figures = [tuple(map(int, (process.stdout.read() if process.stdout else "").split())) for process in (one, two)]

    assert len(studio.drawn) == 16
    assert sum(made for made, _ in figures) == 16


def test_the_journal_tells_the_run(studio: Studio, opened: Opener) -> None:
    run = submitted(opened(), studio.jobs())
    run.wait()
    run.gate(studio.suite.path.as_posix(), "lora")
    run.finish()

    events = [event["event"] for event in run.store.journal(run.id).events()]

    assert events[0] == "plan"
    assert events.count("sample") == 16
    assert events[-1] == "finish"


# --- the gate -----------------------------------------------------------------------------------------------------


def test_a_lora_that_changes_nothing_turns_the_gate_red(studio: Studio, opened: Opener) -> None:
    studio.lora = 0.2  # just what the base draws
    studio.suite_keys = {"thresholds": {}}
    run = submitted(opened(), studio.jobs("lora"))

    gate = run.gate(studio.suite.path.as_posix(), "lora")

    assert gate.decision is Decision.FAIL
    assert any(complaint.metric == "applied" for complaint in gate.complaints)
    assert run.usage.images_generated == 8 + 2


def test_strength_zero_turns_the_gate_red_with_that_cause(studio: Studio, opened: Opener) -> None:
    studio.strength = 0.0
    run = submitted(opened(), studio.jobs("lora"))

    gate = run.gate(studio.suite.path.as_posix(), "lora")

    assert gate.decision is Decision.FAIL
    assert "strength is 0" in gate.cause


def test_a_baseline_of_the_same_recipe_is_compared(studio: Studio, opened: Opener) -> None:
    studio.suite_keys = {"thresholds": {}}
    path = studio.suite.path.as_posix()
    run = submitted(opened(), studio.jobs())
    run.gate(path, "lora")
    baseline = studio.folder / "baseline.json"
    baseline.write_text(run.finish().to_text())
    worse = Lora(studio.write_lora("worse", 0.7))

    after = submitted(opened(baseline=baseline, lora=worse), studio.jobs())

    gate = after.gate(path, "lora")
    assert gate.decision is Decision.FAIL
    assert any("regress" in complaint.metric for complaint in gate.complaints)


def test_a_baseline_of_another_recipe_is_refused_with_the_fields_name(studio: Studio, opened: Opener) -> None:
    path = studio.suite.path.as_posix()
    run = submitted(opened(), studio.jobs())
    run.gate(path, "lora")
    baseline = studio.folder / "baseline.json"
    baseline.write_text(run.finish().to_text())
    studio.scorer.identity = "brightness/2"

    gate = submitted(opened(baseline=baseline), studio.jobs()).gate(path, "lora")

    assert gate.decision is Decision.ERROR
    assert "scorer.identity" in gate.complaints[0].message


# --- retraining ---------------------------------------------------------------------------------------------------


def brighter(context: ImproveContext) -> ImproveResult:
    """Tries a brighter LoRA on the locked cases with seeds nobody has seen, and promotes it."""
    path = context.suite.path.parent / "challenger.safetensors"
    path.write_text("0.95")
    locked = [case for case in context.suite.cases if case.split == "locked"]
    old = context.evaluate(context.lora, context.provider, locked, [100, 101])
    new = context.evaluate(Lora(path), context.provider, locked, [100, 101])
    off = context.evaluate(None, context.provider, locked[:1], [100])
    values = [result.samples[0].scores["quality"].value or 0 for result in (*old, *new, *off)]
    record = {"round": 1, "promoted": True, "values": values, "failing": len(context.failing), "reason": "brighter"}
    return ImproveResult([record], Lora(path))


def test_a_failing_lora_is_retrained_and_the_tests_run_again(studio: Studio, opened: Opener) -> None:
    studio.lora = 0.4
    run = submitted(opened(retrain=1, improve=brighter), studio.jobs())
    job = studio.jobs("lora")[0]

    assert run.verdict(job).decision is Decision.PASS
    assert [verdict.decision for verdict in run.attempts(job)] == [Decision.FAIL]
    assert run.gate(job.path, "lora").decision is Decision.PASS
    assert run.attempts(studio.jobs("base")[0]) == ()
    record = run.finish()
    assert record.gate.verdict == "pass"
    (round_,) = record.rounds
    assert round_.failing == 4
    assert round_.values == pytest.approx([0.4, 0.4, 0.95, 0.95, 0.2], abs=0.02)


def test_jobs_submitted_after_a_promotion_are_drawn_with_what_was_promoted(studio: Studio, opened: Opener) -> None:
    studio.lora = 0.4
    jobs = studio.jobs("lora")
    run = submitted(opened(retrain=1, improve=brighter), jobs[:2])
    run.wait()

    submitted(run, jobs)

    values = [sample.scores["quality"].value for job in jobs for sample in run.result(job).samples]
    assert values == pytest.approx([0.95] * (6 + 6 + 2 + 2), abs=0.02), "a leaderboard must not mix two LoRAs"


def test_a_gate_provider_with_a_lora_of_its_own_is_judged_by_that_one(studio: Studio) -> None:
    """Over the command line's, which changes nothing: its control would turn the gate red."""
    studio.suite_keys = {"thresholds": {}}
    own, given = (Lora(studio.write_lora(name, level)) for name, level in (("own", 0.9), ("given", 0.2)))
    settings, path = studio.settings(lora=given), studio.suite.path.as_posix()
    keys: dict[str, Any] = {"providers": studio.open_provider, "scorers": lambda suite: studio.scorer}
    gates: list[Decision] = []
    for loras in ({"lora": own}, {"another": own}):
        run = Run(settings, make_profile(), [studio.suite], Store(settings.store), loras=loras, **keys)
        gates.append(submitted(run, studio.jobs("lora")).gate(path, "lora").decision)
        under_test = run.finish().suites[0].under_test["lora"].file
        assert under_test == ("own.safetensors" if "lora" in loras else "given.safetensors")
        run.close()

    assert gates == [Decision.PASS, Decision.FAIL]


def test_a_lora_that_passes_is_not_retrained(studio: Studio, opened: Opener) -> None:
    def never(context: ImproveContext) -> ImproveResult:
        raise AssertionError("nothing fails")

    run = submitted(opened(retrain=2, improve=never), studio.jobs())

    assert run.verdict(studio.jobs("lora")[0]).decision is Decision.PASS
    assert run.finish().rounds == ()


def test_nobody_waits_for_a_retraining_that_nothing_does(studio: Studio, opened: Opener) -> None:
    studio.lora = 0.4
    run = submitted(opened(retrain=1, improve=None), studio.jobs())

    assert run.verdict(studio.jobs("lora")[0]).decision is Decision.FAIL


def test_locked_cases_are_no_reason_to_train_and_no_training_reads_them(studio: Studio, opened: Opener) -> None:
    studio.lora, told = 0.4, list[ImproveContext]()

    def look(context: ImproveContext) -> ImproveResult:
        told.append(context)
        return ImproveResult()

    path = studio.suite.path.as_posix()
    jobs = [Job(path, case.id, provider) for provider in ("lora", "base") for case in studio.suite.cases]  # --locked
    locked = [job for job in jobs if studio.suite.case(job.case).split == "locked"]
    for asked in (locked, jobs):
        run = submitted(opened(retrain=1, improve=look), asked)
        assert run.verdict(asked[0]).decision is Decision.FAIL
        run.finish()

    (context,) = told
    seen = {result.job for results in context.results.values() for result in results} | set(context.verdicts)
    assert seen and not seen & set(locked) and {job.case for job in context.failing} == {job.case for job in seen}
    with pytest.raises(EngineError, match="locked cases"):
        replace(context, verdicts=dict.fromkeys(locked, context.gate))


def test_a_refused_challenger_leaves_the_verdict(studio: Studio, opened: Opener) -> None:
    studio.lora = 0.4
    refuse: Callable[[ImproveContext], ImproveResult] = lambda context: ImproveResult([{"promoted": False}])  # noqa: E731
    run = submitted(opened(retrain=1, improve=refuse), studio.jobs())
    job = studio.jobs("lora")[0]

    assert run.verdict(job).decision is Decision.FAIL
    assert run.attempts(job) == ()


def test_a_training_that_breaks_leaves_the_verdict_and_its_reason(studio: Studio, opened: Opener) -> None:
    def broken(context: ImproveContext) -> ImproveResult:
        raise ZeroDivisionError("no pictures")

    studio.lora = 0.4
    run = submitted(opened(retrain=1, improve=broken), studio.jobs())

    assert run.verdict(studio.jobs("lora")[0]).decision is Decision.FAIL
    assert "no pictures" in run.finish().rounds[0].reason


# --- telling ------------------------------------------------------------------------------------------------------


def test_progress_counts_pictures_cost_and_time(
    studio: Studio, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engine.resources.SURE_S", 0.0)
    told: list[Progress] = []
    submitted(opened(listener=told.append), studio.jobs()).wait()

    draws = [progress for progress in told if progress.stage == "draw"]

    assert [progress.done for progress in draws] == list(range(1, 17))
    assert draws[-1].total == 16
    assert draws[-1].cost_usd == pytest.approx(0.16)
    assert [progress.eta_s for progress in draws[:2]] == [None, None], "two pictures foretell nothing"
    assert all(progress.eta_s for progress in draws[2:-1])
    assert draws[-1].eta_s == 0


def test_the_record_holds_what_a_reader_needs(studio: Studio, opened: Opener) -> None:
    run = submitted(opened(), studio.jobs())
    run.wait()
    run.gate(studio.suite.path.as_posix(), "lora")

    record = run.finish()

    assert record.run.id == run.id
    assert record.engine.images_generated == 16
    assert [row.provider for row in record.leaderboard] == ["lora", "base"]
    assert record.suites[0].scorer == {"identity": "brightness/1"}
    assert record.suites[0].recipe["lora"]["batch"] == 2
    assert "2 locked cases" in record.suites[0].notes[0]
    assert len(record.cases) == 8
    assert parse_results(record.to_text(), "its file") == record


def test_feedback_names_what_fails(studio: Studio, opened: Opener) -> None:
    studio.lora = 0.4
    run = submitted(opened(), studio.jobs())

    told = run.feedback(studio.suite.path.as_posix())

    assert told.failing
    assert told.metrics[0].name == "quality"


def test_a_submission_twice_is_one(studio: Studio, opened: Opener) -> None:
    run = submitted(submitted(opened(), studio.jobs()), studio.jobs()[::-1])
    run.wait()

    assert len(studio.drawn) == 16


def test_jobs_submitted_later_join_the_plan(studio: Studio, opened: Opener) -> None:
    run = submitted(opened(), studio.jobs("lora")[:2])
    run.wait()
    submitted(run, studio.jobs())

    assert len([run.verdict(job) for job in studio.jobs()]) == 8
    assert len(studio.drawn) == 16


WARM = """
import sys
from pathlib import Path
from tests.painter import Studio
studio = Studio(Path(sys.argv[1]))
run = studio.run()
run.submit(studio.jobs())
print([run.verdict(job).decision.value for job in studio.jobs()][0])
run.finish()
print([name for name in ("torch", "diffusers", "transformers") if name in sys.modules])
run.close()
"""


def test_a_warm_run_imports_no_torch(studio: Studio, opened: Opener) -> None:
    run = submitted(opened(), studio.jobs())
    run.wait()
    run.close()

    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", WARM, str(studio.folder)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=root)

    assert result.stdout.split() == ["pass", "[]"], result.stderr


def test_cases_and_thresholds_are_the_suites(studio: Studio, opened: Opener) -> None:
    studio.suite_keys = {"thresholds": {"quality": Threshold(warn=0.99)}}
    run = submitted(opened(), studio.jobs())

    verdict = run.verdict(studio.jobs("lora")[0])

    assert verdict.decision is Decision.PASS
    assert verdict.complaints[0].severity == "warn"
    assert isinstance(studio.suite.cases[0], Case)


def test_the_stores_of_two_runs_never_mix(studio: Studio, opened: Opener) -> None:
    submitted(opened(), studio.jobs()).wait()

    run = submitted(opened(store=studio.folder / "elsewhere"), studio.jobs())
    run.wait()

    assert run.usage.images_generated == 16
    with Store(studio.folder / "elsewhere") as other:
        assert other.folder != studio.folder / "store"
