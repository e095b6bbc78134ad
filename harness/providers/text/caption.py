"""Captions for the pictures of a folder, one .txt beside each: only those without one, each kept as soon as it came."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import yaml

from harness.config.prompts.trigger import with_trigger
from harness.core.errors import UsageError
from harness.core.files import write_file
from harness.core.text import clean
from harness.core.values import Outcome
from harness.providers.http_client.exchange import Unanswered
from harness.providers.text.chat import Writer, strip_fence
from harness.scoring.references.loading import picture_files

STOPS = frozenset({Outcome.AUTH, Outcome.QUOTA, Outcome.MODEL_RETIRED})  # the next picture would end alike
RECORD = "captions.json"
LONGEST = 600  # characters: text encoders read about 300 of them
OPENING = re.compile(r"^(sure|certainly|of course|here('s| is| are))\b[^:\n]{0,60}:\s*", re.IGNORECASE)
SUBJECT = "Call the person or character in it {name!r}. "
QUESTIONS = {
    "sentence": (
        "Describe this picture in one plain {language} sentence of at most 40 words, as the caption of a picture that "
        "an image model learns from. {subject}Say what is to be seen: expression, pose, what the hands do and hold, "
        "the place, the light, the style of the picture. No opinion, no guess, no name, nothing about the question. "
        "Answer with the sentence alone."
    ),
    "tags": (
        "List what is to be seen in this picture as 5 to 15 short {language} tags in lower case, separated by commas, "
        "as the caption of a picture that an image model learns from: expression, pose, what the hands hold, the "
        "place, the light, the style. {subject}No opinion, no guess, no name. Answer with the tags alone."
    ),
}
"""What is asked of a picture. What the subject always looks like is better left to the trigger."""


@dataclass(frozen=True)
class Asking:
    """What is asked of the pictures, and how captions call who is in them; by class, which is the folder's name."""

    style: str = "sentence"
    language: str = "English"
    trigger: str = ""  # where `names` is silent
    questions: Mapping[str, str] = field(default_factory=dict)  # "": of every other class; else that of the style
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, picture: Path) -> str:
        """What the picture's caption opens with."""
        return self.names.get(class_of(picture), self.trigger)

    def question(self, picture: Path) -> str:
        """What is asked of a picture; {name} and {language} in a question of one's own are filled in."""
        name = self.name(picture)
        own = self.questions.get(class_of(picture)) or self.questions.get("")
        if own:
            return own.replace("{name}", name).replace("{language}", self.language)
        subject = SUBJECT.format(name=name) if name else ""
        return QUESTIONS[self.style].format(language=self.language, subject=subject)


def class_of(picture: Path) -> str:
    """The folder that a picture lies in; train/ and held_out/ are parts of the one around them."""
    folder = picture.absolute().parent
    return folder.parent.name if folder.name in ("train", "held_out") else folder.name


def read_classes(path: Path, what: str) -> dict[str, str]:
    """Class to text, from a YAML or JSON file of such pairs.

    Raises:
        UsageError: there is no such file, or it holds something else.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{what} {path}: cannot be read ({clean(str(error))})") from error
    if not isinstance(found, dict) or not all(isinstance(text, str) and text.strip() for text in found.values()):
        raise UsageError(f'{what} {path}: needs a class and a text in each line, {{"toma": "..."}} say')
    return {str(name): text.strip() for name, text in found.items()}


@dataclass(frozen=True)
class Failure:
    """A picture without a caption, and why."""

    path: Path
    outcome: Outcome
    message: str


@dataclass(frozen=True)
class CaptionPlan:
    """Which pictures of a folder are to be captioned."""

    todo: tuple[Path, ...]
    kept: tuple[Path, ...] = ()  # have a caption
    twins: tuple[Path, ...] = ()  # would share another picture's .txt


@dataclass
class CaptionReport:
    """What came of it."""

    written: int = 0
    kept: int = 0
    left: int = 0  # not asked for, since something final had happened
    failures: list[Failure] = field(default_factory=list)
    stopped: str = ""  # why the rest was not asked for


# --- what to do -----------------------------------------------------------------------------------------------------


def plan_captions(folder: Path, force: bool, emulated: bool) -> CaptionPlan:
    """The pictures of a folder, or of its train/ and held_out/, that need a caption.

    A caption that the emulator wrote counts as none for a real writer, unless somebody has changed it since.

    Raises:
        UsageError: there is no such folder, or no picture in it.
    """
    pictures = picture_files(folder) or [*picture_files(folder / "train"), *picture_files(folder / "held_out")]
    if not pictures:
        missing = "no PNG, JPEG or WebP picture in it" if folder.is_dir() else "no such folder"
        raise UsageError(f"{folder}: {missing}; name a folder of pictures")
    owners: dict[Path, Path] = {}
    todo, kept, twins = [], [], []
    for path in pictures:
        text = path.with_suffix(".txt")
        if owners.setdefault(text, path) != path:
            twins.append(path)
        elif force or not has_caption(path, emulated):
            todo.append(path)
        else:
            kept.append(path)
    return CaptionPlan(tuple(todo), tuple(kept), tuple(twins))


def has_caption(path: Path, emulated: bool) -> bool:
    """Whether a picture has a caption that is to be kept."""
    text = path.with_suffix(".txt")
    if not text.is_file() or not text.read_bytes().strip():
        return False
    entry = read_record(path.parent).get(path.name, {})
    placeholder = (
        not emulated and entry.get("emulated") and entry.get("caption") == sha256(text.read_bytes()).hexdigest()
    )
    return not placeholder


def read_record(folder: Path) -> dict[str, dict[str, object]]:
    """Who captioned which picture of a folder; {} when nobody did, or when the file is no use any more."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = record.get("pictures") if isinstance(record, dict) else None
    return {name: entry for name, entry in (entries or {}).items() if isinstance(entry, dict)}


# --- doing it -------------------------------------------------------------------------------------------------------


class Captioner:
    """Captions the pictures of a plan with one writer, a few at a time; threads share it."""

    def __init__(self, writer: Writer, asking: Asking = Asking(), say: Callable[[str], None] = print) -> None:
        """`say` gets one line a picture."""
        self.writer, self.asking, self.say = writer, asking, say
        self._lock = threading.Lock()
        self._final: Unanswered | None = None

    def run(self, plan: CaptionPlan) -> CaptionReport:
        """Caption them all. Whatever came is on the disk, also after Ctrl-C; a failure costs its own picture only."""
        report = CaptionReport(kept=len(plan.kept))
        for path in plan.twins:
            shared = path.with_suffix(".txt").name
            message = f"another picture has {shared} already; rename one of the two"
            report.failures.append(Failure(path, Outcome.PROVIDER_ERROR, message))
        waiting, running = list(reversed(plan.todo)), set[Future[Failure | None]]()
        with ThreadPoolExecutor(self.writer.concurrency, thread_name_prefix="caption") as pool:
            while running or (waiting and self._final is None):
                while waiting and len(running) < self.writer.concurrency and self._final is None:
                    running.add(pool.submit(self.caption, waiting.pop()))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    self._count(report, future.result(), len(plan.todo))
        if self._final is not None and waiting:
            report.left, report.stopped = len(waiting), str(self._final)
        report.failures.sort(key=lambda failure: failure.path)
        return report

    def caption(self, path: Path) -> Failure | None:
        """One picture: its caption on the disk, or why there is none."""
        try:
            data = path.read_bytes()
            text = self._tidy(self.writer.see(data, self.asking.question(path)), self.asking.name(path))
            self._keep(path, data, text)
        except Unanswered as failure:
            if failure.final or failure.outcome in STOPS:
                self._final = failure
            return Failure(path, failure.outcome, str(failure))
        except OSError as error:
            return Failure(path, Outcome.PROVIDER_ERROR, f"{error.strerror or error}: check the folder and the disk")
        return None

    def _count(self, report: CaptionReport, failure: Failure | None, total: int) -> None:
        if failure is None:
            report.written += 1
        else:
            report.failures.append(failure)
            self.say(f"{failure.path.name}: {failure.outcome.value}: {clean(failure.message)}")
        self.say(
            f"{report.written} of {total} captioned" + (f", {len(report.failures)} failed" if report.failures else "")
        )

    def _tidy(self, answer: str, name: str) -> str:
        """The caption that an answer holds, on one line, the name in it."""
        text = strip_fence(answer).replace("*", "")
        text = OPENING.sub("", text.strip()).strip("\"'“”« »\n")
        if self.asking.style == "tags":
            tags = (clean(tag, 80).lower().strip(" .-•") for tag in re.split(r"[,\n;]", text))
            text = ", ".join(dict.fromkeys(tag for tag in tags if tag))
        text = clean(text, LONGEST)
        if not text:
            raise Unanswered(Outcome.PROVIDER_ERROR, "the answer holds no caption; try again, or another writer")
        return with_trigger(text, name) if name else text

    def _keep(self, path: Path, data: bytes, text: str) -> None:
        """Caption and provenance, each file whole or not at all."""
        content = f"{text}\n".encode()
        entry = {
            "picture": sha256(data).hexdigest(),
            "caption": sha256(content).hexdigest(),
            "writer": self.writer.name,
            "model": self.writer.model,
            "emulated": self.writer.emulated,
            "style": self.asking.style,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with self._lock:
            write_file(path.with_suffix(".txt"), content)
            pictures = read_record(path.parent) | {path.name: entry}
            whole = {"version": 1, "pictures": dict(sorted(pictures.items()))}
            write_file(path.parent / RECORD, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def show_report(report: CaptionReport, leftovers: Sequence[str] = ()) -> str:
    """The closing lines of a run."""
    lines = [f"{report.written} captioned, {report.kept} had one already, {len(report.failures)} failed"]
    for failure in report.failures:
        lines.append(f"  {failure.path}: {failure.outcome.value}: {clean(failure.message)}")
    if report.left:
        lines.append(f"stopped with {report.left} to go: {clean(report.stopped)}; the same command goes on from here")
    elif report.failures:
        lines.append("the same command tries those again")
    if leftovers:
        lines.append(f"uploads that could not be deleted: {', '.join(leftovers)}; delete them by hand, storage fills")
    return "\n".join(lines)
