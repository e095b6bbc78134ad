"""A program of your own: started for each picture or each batch, told what to draw, its picture taken.

    mine: {adapter: command, command: [python, draw.py, "--prompt={prompt}", "--seed={seed}", "--out={out}"]}

No shell is involved, and the program sees no key unless `pass_env` names it. Exit codes: CODES.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from harness.config.profile import ProviderConfig, extend_vocabulary
from harness.config.prompts.subject import describe_subject
from harness.core.errors import MissingKey, SuiteError, nearest
from harness.core.values import Case, Generation, Outcome, Request, Suite
from harness.core.yaml import Strict, VariableName
from harness.models.identity import hash_once
from harness.providers import ProviderContext
from harness.providers.http_client.exchange import Unanswered
from harness.providers.http_client.options import Price
from harness.providers.http_client.redact import Redactor
from harness.providers.prompts import traits_of
from harness.providers.remote import group_requests, in_order

ADAPTER = "command/1"
CODES: dict[int, Outcome] = {
    10: Outcome.REFUSED,
    11: Outcome.QUOTA,
    12: Outcome.AUTH,
    13: Outcome.MODEL_RETIRED,
    14: Outcome.TIMEOUT,
    15: Outcome.BAD_IMAGE,
}
"""What a program's exit code means; 0 is a picture, everything else provider_error."""
LAST = frozenset({Outcome.QUOTA, Outcome.AUTH, Outcome.MODEL_RETIRED})  # asking again in this run cannot help
KEPT = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|USER|USERPROFILE|SYSTEMROOT|COMSPEC|PATHEXT|LD_LIBRARY_PATH"
    r"|VIRTUAL_ENV|CONDA_PREFIX|CUDA_VISIBLE_DEVICES|OMP_NUM_THREADS|HF_HOME|PYTHONUTF8|PYTHONIOENCODING",
    re.IGNORECASE,
)
"""Variables that a program gets anyway; none of them holds a key."""
WORD = re.compile(r"\{([a-z]+)\}")
WORDS = ("height", "index", "negative", "out", "prompt", "seed", "width")
BATCH_WORDS = ("out",)  # the rest differs from picture to picture, and stands in the JSON
BYTES_CAP = 100_000_000
TAIL = 240  # bytes of what a program says in the end
META_CAP = 10_000  # bytes
RUNNING: set[subprocess.Popen[bytes]] = set()  # of every provider: whoever ends this process at once ends them first


class CommandOptions(Strict):
    """What a profile says of a program."""

    command: tuple[str, ...] = Field(min_length=1)
    folder: str = "."  # where it runs, from the project's root
    model: str = ""  # for people, and for the cache key
    version: str = ""  # changed by hand, it makes every picture new
    fingerprint: tuple[str, ...] = ()  # files that decide the pixels: the program, its weights; from the root
    timeout: float = Field(default=300.0, gt=0)  # seconds, for one start
    concurrency: int = Field(default=1, ge=1, le=64)  # programs at once
    per_call: int = Field(default=1, ge=1, le=256)  # pictures that one start draws
    pass_env: tuple[VariableName, ...] = ()  # variables, keys among them, that the program may see
    describe: bool = True  # the subject's traits take the trigger's place
    seeded: bool = True  # False: the seed changes nothing, and every sample is another draw
    price: Price | None = None


class CommandProvider:
    """Starts programs; threads wait for them."""

    emulated = False

    def __init__(self, name: str, config: ProviderConfig, context: ProviderContext) -> None:
        self.name, self.context = name, context
        self.options = self._read(config.options)
        self.folder = context.settings.root / self.options.folder
        if not self.folder.is_dir():
            raise self._wrong(f"folder: there is no folder {self.folder}")
        secrets = [context.settings.secret(name) for name in self.options.pass_env]
        self._redactor = Redactor([secret.reveal() for secret in secrets if secret is not None])
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._final: tuple[Outcome, str] | None = None

    def missing(self) -> str:
        names = self.options.pass_env
        return next((name for name in names if self.context.settings.secret(name) is None), "")

    def requests(self, suite: Suite, case: Case, seeds: Sequence[int]) -> tuple[Request, ...]:
        """One request a seed."""
        options, (width, height) = self.options, self.context.profile.size
        root = self.context.settings.root
        extra = {
            "command": list(options.command),
            "version": options.version,
            "files": {name: hash_once(root / name) for name in options.fingerprint},
        }
        template = Request(
            ADAPTER,
            f"{self.name} {options.model}".strip(),
            self._prompt(suite, case),
            0,
            width,
            height,
            case.negative or suite.negative or self.context.profile.negative,
            batch=options.per_call,
            extra=extra,
        )
        return tuple(
            replace(template, seed=seed, index=0 if options.seeded else index) for index, seed in enumerate(seeds)
        )

    def draw(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """A few programs at a time, answers in the order of the requests; whoever stops listening stops them all."""
        if self.missing():
            raise MissingKey(self.name, self.missing())
        groups = group_requests(requests, self.options.per_call)
        self._stopped = False
        yield from in_order(self._draw_group, groups, self.options.concurrency, self.name, self._stop)

    def close(self) -> None:
        self._stop()

    # --- one start ----------------------------------------------------------------------------------------------------

    def _draw_group(self, requests: Sequence[Request]) -> list[Generation]:
        """One start's pictures, paid for where the profile gives a price."""
        if self._final is not None:
            return [Generation(self._final[0], message=self._final[1]) for _ in requests]
        price = self.options.price
        if price is None:
            return self._start(requests)
        budget = self.context.budget
        try:
            taken = budget.take(self.name, price.usd, len(requests))
        except Unanswered as failure:
            return [Generation(failure.outcome, message=f"{self.name}: {failure}") for _ in requests]
        drawings: list[Generation] = []
        try:
            drawings = self._start(requests)
        finally:
            budget.settle(taken, drawings)
        return drawings

    def _start(self, requests: Sequence[Request]) -> list[Generation]:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="lora-harness-") as name:
            here = Path(name)
            pictures = [here / "pictures" / f"{number}.png" for number in range(len(requests))]
            pictures[0].parent.mkdir()
            messages = [describe_request(one, path) for one, path in zip(requests, pictures, strict=True)]
            alone = self.options.per_call == 1
            out = pictures[0] if alone else pictures[0].parent
            (here / "stdin").write_text(json.dumps(messages[0] if alone else {"requests": messages}), encoding="utf-8")
            words = {**messages[0], "out": str(out)}
            command = [WORD.sub(lambda found: str(words[found.group(1)]), part) for part in self.options.command]
            if command[0] == "python":
                command[0] = sys.executable  # the one that runs the suites, with what is installed there
            problem = self._run(command, here)
            seconds = (time.perf_counter() - started) / len(requests)
            if problem is not None:
                return [replace(problem, seconds=seconds) for _ in requests]
            if alone and not pictures[0].exists() and not any("{out}" in part for part in self.options.command):
                pictures = [here / "stdout"]
            return [self._take(path, here, seconds) for path in pictures]

    def _run(self, command: Sequence[str], here: Path) -> Generation | None:
        """Run a program to its end; None when it went well.

        Everything it says goes into files, so that neither a full pipe nor a child that keeps one open holds us up.
        """
        with (
            (here / "stdin").open("rb") as message,
            (here / "stdout").open("wb") as out,
            (here / "stderr").open("wb") as err,
        ):
            try:
                process = self._open(command, message, out, err)
            except (OSError, ValueError) as error:
                text = f"{command[0]!r} cannot be started ({error}); check `command`"
                return self._failed(Outcome.PROVIDER_ERROR, text)
        try:
            code = process.wait(self.options.timeout)
        except subprocess.TimeoutExpired:
            text = f"not done after {self.options.timeout:g} s, and stopped; raise `timeout`"
            return self._failed(Outcome.TIMEOUT, text, here, billed=True)
        finally:
            end_group(process)
            process.wait()
            with self._lock:
                self._running.discard(process)
                RUNNING.discard(process)
        if self._stopped:
            return self._failed(Outcome.PROVIDER_ERROR, "stopped, as nobody waits for it any more; run again")
        if code == 0:
            return None
        outcome = CODES.get(code, Outcome.PROVIDER_ERROR)
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        advice = "reword the prompt" if outcome is Outcome.REFUSED else "check the program"
        return self._failed(outcome, f"the program ended with {ended}; {advice}", here)

    def _open(self, command: Sequence[str], told: Any, out: Any, err: Any) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise ValueError("nobody waits for it any more")
            process = subprocess.Popen(  # noqa: S603  (a list from the profile, and no shell)
                command,
                stdin=told,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=self._environment(),
                start_new_session=True,
            )
            self._running.add(process)
            RUNNING.add(process)
        return process

    def _environment(self) -> dict[str, str]:
        """What a program needs to run, and the variables that the profile names."""
        known = self.context.settings.environment
        names = [name for name in known if KEPT.fullmatch(name) or name in self.options.pass_env]
        return {name: known[name].reveal() for name in names}

    def _take(self, path: Path, here: Path, seconds: float) -> Generation:
        """A finished picture; where it is a file, a JSON object on stdout is what is worth remembering of it."""
        if not path.is_file() or path.is_symlink() or path.stat().st_size == 0:
            text = f"exit code 0 and no picture in {path.name}; check that the program writes it where `out` says"
            return replace(self._failed(Outcome.BAD_IMAGE, text, here), seconds=seconds)
        if path.stat().st_size > BYTES_CAP:
            text = f"a picture of more than {BYTES_CAP:,} bytes; choose a smaller size"
            return replace(self._failed(Outcome.BAD_IMAGE, text), seconds=seconds)
        cost = self.options.price.usd if self.options.price else 0.0
        message = read_meta(here / "stdout") if path.name != "stdout" and self.options.per_call == 1 else {}
        meta = {name: self._redactor.short(item) if isinstance(item, str) else item for name, item in message.items()}
        return Generation(Outcome.OK, path.read_bytes(), seconds=seconds, cost_usd=cost, meta=meta)

    def _failed(self, outcome: Outcome, said: str, here: Path | None = None, *, billed: bool = False) -> Generation:
        """An ending in words, with the end of what the program said, less the keys that it was given."""
        tail = self._redactor.short(read_tail(here / "stderr")) if here is not None else ""
        message = f"{self.name}: {said}" + (f"; it said: {tail}" if tail else "")
        if outcome in LAST:
            self._final = (outcome, message)
        meta = {"possibly_billed": True} if billed and self.options.price else {}
        return Generation(outcome, message=message, meta=meta)

    def _stop(self) -> None:
        """End whatever still runs."""
        self._stopped = True
        with self._lock:
            running = list(self._running)
        for process in running:
            end_group(process)

    # --- options ------------------------------------------------------------------------------------------------------

    def _prompt(self, suite: Suite, case: Case) -> str:
        if not self.options.describe:
            return case.prompt
        vocabulary = extend_vocabulary(self.context.profile, suite).vocabulary
        return describe_subject(suite, case, traits_of(suite, self.context, vocabulary), vocabulary)

    def _read(self, given: Mapping[str, object]) -> CommandOptions:
        for key in given:
            if key not in CommandOptions.model_fields:
                raise self._wrong(f"no option called {key!r}; {nearest(key, CommandOptions.model_fields)}")
        if isinstance(given.get("command"), str):
            raise self._wrong("command: is a list, program first; no shell reads it: [python, draw.py, ...]")
        try:
            options = CommandOptions.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise self._wrong(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        known = WORDS if options.per_call == 1 else BATCH_WORDS
        for word in (word for part in options.command for word in WORD.findall(part)):
            if word not in known:
                more = "" if options.per_call == 1 else "; what differs between the pictures of a batch is on stdin"
                raise self._wrong(f"command: no word called {{{word}}}; {nearest(word, known)}{more}")
        for name in options.fingerprint:
            if not (self.context.settings.root / name).is_file():
                raise self._wrong(f"fingerprint: there is no file {self.context.settings.root / name}")
        return options

    def _wrong(self, message: str) -> SuiteError:
        return SuiteError(f"provider {self.name!r}: {message}", self.context.profile.path)


def describe_request(request: Request, out: Path) -> dict[str, object]:
    """A request as a program is told of it."""
    return {
        "prompt": request.prompt,
        "negative": request.negative,
        "seed": request.seed,
        "index": request.index,
        "width": request.width,
        "height": request.height,
        "out": str(out),
    }


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a program that still runs, with all that it started."""
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # it ended meanwhile
            os.killpg(process.pid, signal.SIGKILL)  # it leads its group: start_new_session
    else:
        process.kill()


def end_programs() -> None:
    """End every program that a provider of this process has started."""
    for process in list(RUNNING):
        end_group(process)


def read_tail(path: Path) -> str:
    """The end of what a program said, as one line."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - TAIL))
        return " ".join(stream.read().decode("utf-8", "replace").split())


def read_meta(path: Path) -> dict[str, object]:
    """The plain values of a JSON object that a program printed; {} when it printed anything else."""
    if not path.is_file() or not 0 < path.stat().st_size <= META_CAP:
        return {}
    try:
        result = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    plain = result.items() if isinstance(result, dict) else ()
    return {name: value for name, value in plain if isinstance(value, str | int | float)}
