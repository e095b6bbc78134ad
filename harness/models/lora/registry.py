"""The champion of a subject: one weights file, one record beside it, and its predecessors in `history/`.

    references/aldar_kose/champion.safetensors
    references/aldar_kose/champion.json          whose, how made, from which, with which scores
    references/aldar_kose/history/<hash>.{safetensors,json}
    references/aldar_kose/challengers/<hash>.{safetensors,json}    taken in from elsewhere, or refused

Weights and record are two files and no system replaces two at once, so the new record is written first as
`champion.json.next`. Who reads takes the one of the two records that bears the weights' hash and changes nothing; who
writes has the folder to itself, and finishes or drops first what was cut off before.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from filelock import FileLock, Timeout

from harness.core.errors import LoraError
from harness.core.files import replacing, write_file
from harness.core.values import hash_file, to_record
from harness.models.lora.export import read_facts, read_tensors, write_tensors

SCHEMA = 1
HISTORY = "history"
CHALLENGERS = "challengers"
SHORT = 16  # hexadecimal digits of a hash in a file's name
PATIENCE_S = 60.0  # for which one writer waits for another; copying a file takes seconds
UP = re.compile(r"lora_B|lora_up|[._]up\.weight")  # one factor of each product, in any style of names


@dataclass(frozen=True)
class Champion:
    """The LoRA in use, as its record tells it."""

    path: Path
    sha256: str
    promoted: str  # UTC; "" for a file without a record
    lineage: tuple[str, ...]  # hashes of earlier champions, oldest first
    made: Mapping[str, object] = field(default_factory=dict)  # command, config, steps, seconds, references, base
    scores: Mapping[str, object] = field(default_factory=dict)  # what it was promoted on, plain JSON
    reason: str = ""


class ChampionRecord(TypedDict, total=False):
    """What lies beside a champion's weights; of one that was lost there is only the hash."""

    schema: int
    path: str  # the file's name
    sha256: str
    promoted: str
    lineage: Sequence[str]
    made: Mapping[str, object]
    scores: Mapping[str, object]
    reason: str


class KeptChallenger(TypedDict):
    """What lies beside a challenger's weights."""

    schema: int
    sha256: str
    origin: Mapping[str, object]  # where it is from and what was done to it, plain JSON
    made: Mapping[str, object]
    path: str


class HeldOutRefusal(TypedDict, total=False):
    """Why a held-out test refused a challenger."""

    suite: str
    attempt: int
    cause: str
    look: int
    reasons: Sequence[str]


def record_path(weights: Path) -> Path:
    """The record beside a weights file."""
    return weights.with_suffix(".json")


def read_champion(weights: Path) -> Champion | None:
    """The champion at this path, or None when there is none. A file without a record is a champion without a past.

    Changes nothing and waits for nobody: at any moment of a promotion one of the two records is the weights' own.
    """
    if not weights.exists():
        return None
    sha256, record = look(weights)
    while not record and (again := look(weights)) != (sha256, record):  # they were replaced while we looked
        sha256, record = again
    if not record:  # somebody put another file here by hand
        return Champion(weights, sha256, "", (), how_made(weights))
    lineage, made, scores = tuple(record["lineage"]), record["made"], record["scores"]
    return Champion(weights, sha256, record["promoted"], lineage, made, scores, record["reason"])


def look(weights: Path) -> tuple[str, ChampionRecord]:
    """The weights' hash and the record that bears it, or {}.

    In the order in which they are written, so that a promotion that ends meanwhile takes no record from under our eyes.
    """
    sha256 = hash_file(weights)
    waiting = read_pending(weights)
    if waiting.get("sha256") == sha256:
        return sha256, waiting
    try:
        record: ChampionRecord = json.loads(record_path(weights).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return sha256, {}
    return sha256, record if record.get("sha256") == sha256 else {}


def promote(
    candidate: Path, weights: Path, scores: Mapping[str, object], reason: str, over: str | None = None
) -> Champion:
    """Put `candidate` in the champion's place; the one before goes to the history.

    Args:
        candidate: a LoRA file; stays where it is.
        weights: the champion's path; need not exist yet.
        scores: what the promotion was decided on, plain JSON.
        reason: in words.
        over: the hash of the champion that it was compared with, "" for none; None: whoever it is.

    Raises:
        LoraError: the candidate is not a LoRA file, another one than `over` is the champion by now, or somebody else
            has been writing here for too long.
    """
    if not read_facts(candidate).keys:
        raise LoraError(f"{candidate}: holds no weights; it cannot become the champion")
    with writing(weights):
        if over is not None and over != (hash_file(weights) if weights.exists() else ""):
            raise LoraError(f"{weights}: another LoRA became the champion meanwhile; compare with that one")
        return crown(candidate, weights, scores, reason)


def crown(candidate: Path, weights: Path, scores: Mapping[str, object], reason: str) -> Champion:
    """`promote` for who may write."""
    settle(weights)
    before = read_champion(weights)
    sha256 = hash_file(candidate)
    lineage: tuple[str, ...] = ()
    if before:
        lineage = before.lineage if before.sha256 == sha256 else (*before.lineage, before.sha256)
        keep_in_history(before)
    promoted = datetime.now(UTC).replace(microsecond=0).isoformat()
    champion = Champion(weights, sha256, promoted, lineage, how_made(candidate), scores, reason)
    write_file(pending(weights), json.dumps(as_record(champion), indent=2, sort_keys=True) + "\n")
    with replacing(weights) as draft:
        shutil.copyfile(candidate, draft)
    settle(weights)
    return champion


def rollback(weights: Path, to: str = "", reason: str = "") -> Champion:
    """Put a former champion back. The one that leaves goes to the history, and the lineage says so.

    Args:
        to: the beginning of the former champion's hash; "" for the one just before, so that a second rollback undoes
            the first.

    Raises:
        LoraError: there is none, several begin like this, or its file is gone or changed.
    """
    with writing(weights):
        return bring_back(weights, to, reason)


def bring_back(weights: Path, to: str, reason: str) -> Champion:
    """`rollback` for who may write."""
    now = read_champion(weights)
    lineage = now.lineage if now else ()
    result = [sha256 for sha256 in dict.fromkeys(lineage) if sha256.startswith(to)] if to else lineage[-1:]
    if now is None or not result:
        raise LoraError(f"{weights}: no champion before this one{f' begins with {to}' if to else ''}; see the history")
    if len(result) > 1:
        raise LoraError(f"{weights}: {len(result)} former champions begin with {to}; write more of the hash")
    kept = weights.parent / HISTORY / f"{result[0][:SHORT]}{weights.suffix}"
    if not kept.exists() or hash_file(kept) != result[0]:
        raise LoraError(f"{kept}: is gone or was changed, so it cannot come back")
    if result[0] == now.sha256:
        raise LoraError(f"{weights}: {to} is the champion already")
    beside = record_path(kept)
    scores = json.loads(beside.read_text(encoding="utf-8")).get("scores", {}) if beside.exists() else {}
    words = f"rolled back from {now.sha256[:SHORT]}" + (f": {reason}" if reason else "")
    return crown(kept, weights, scores, words)


def read_history(weights: Path) -> list[ChampionRecord]:
    """The records of all champions, the oldest first, the present one last; of a lost one only its hash."""
    now = read_champion(weights)
    if now is None:
        return []
    records = list[ChampionRecord]()
    for sha256 in now.lineage:
        kept = weights.parent / HISTORY / f"{sha256[:SHORT]}.json"
        record: ChampionRecord = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        records.append({"promoted": "", "reason": "", "scores": {}, "made": {}, **record, "sha256": sha256})
    return [*records, as_record(now)]


def register_challenger(candidate: Path, weights: Path, origin: Mapping[str, object]) -> Path:
    """Keep a LoRA from elsewhere beside a champion, whose place it does not get. The same file is kept once.

    Args:
        origin: where it is from and what was done to it, plain JSON.

    Raises:
        LoraError: the candidate is not a LoRA file.
    """
    made, sha256 = how_made(candidate), hash_file(candidate)
    kept = weights.parent / CHALLENGERS / f"{sha256[:SHORT]}{weights.suffix}"
    record = {"schema": SCHEMA, "sha256": sha256, "origin": dict(origin), "made": made, "path": kept.name}
    with writing(weights):
        write_file(record_path(kept), json.dumps(record, indent=2, sort_keys=True) + "\n")
        with replacing(kept) as draft:  # last: whoever sees the weights finds their record
            shutil.copyfile(candidate, draft)
    return kept


def keep_refused(candidate: Path, weights: Path | None, why: HeldOutRefusal) -> Path:
    """Keep a challenger that a held-out test refused, with the reason: beside the champion, else where it lies.

    Args:
        weights: the champion whose place it wanted; None: it had none, and a record is put beside the file.
        why: plain JSON: suite, attempt, reasons.
    """
    taken = datetime.now(UTC).replace(microsecond=0).isoformat()
    reasons = "; ".join(str(reason) for reason in why.get("reasons", ()))
    origin = {
        **why,
        "source": f"refused in attempt {why.get('attempt', '?')}: {reasons}",
        "taken": taken,
        "refused": True,
    }
    if weights is not None:
        return register_challenger(candidate, weights, origin)
    record = {"schema": SCHEMA, "sha256": hash_file(candidate), "origin": origin, "made": how_made(candidate)}
    write_file(record_path(candidate), json.dumps({**record, "path": candidate.name}, indent=2, sort_keys=True) + "\n")
    return candidate


def read_challengers(weights: Path) -> list[KeptChallenger]:
    """The records of what was taken in, the newest last."""
    result = sorted((weights.parent / CHALLENGERS).glob(f"*{weights.suffix}"), key=lambda path: path.stat().st_mtime)
    return [json.loads(record_path(path).read_text(encoding="utf-8")) for path in result if record_path(path).exists()]


def as_record(champion: Champion) -> ChampionRecord:
    """The record that lies beside the weights; holds no absolute path."""
    record: ChampionRecord = to_record(champion)
    return {"schema": SCHEMA, **record, "path": champion.path.name}


def how_made(weights: Path) -> dict[str, object]:
    """What a LoRA file's own metadata say about its making."""
    facts = read_facts(weights)
    names = ("subject", "trigger", "command", "created", "steps", "seconds", "references", "base", "parent", "scale")
    text = facts.metadata
    made: dict[str, object] = {name: text[f"harness.{name}"] for name in names if f"harness.{name}" in text}
    return {**made, "config": facts.config.to_record() if facts.config else None}


def keep_in_history(champion: Champion) -> Path:
    """Copy a champion and its record aside, named by hash."""
    folder = champion.path.parent / HISTORY
    kept = folder / f"{champion.sha256[:SHORT]}{champion.path.suffix}"
    with replacing(kept) as draft:
        shutil.copyfile(champion.path, draft)
    write_file(record_path(kept), json.dumps(as_record(champion), indent=2, sort_keys=True) + "\n")
    return kept


def pending(weights: Path) -> Path:
    """The record of a promotion under way."""
    return record_path(weights).with_name(record_path(weights).name + ".next")


def read_pending(weights: Path) -> ChampionRecord:
    """The record of a promotion under way, or of one that was cut off; {} for none, and for what is no record."""
    try:
        record: ChampionRecord = json.loads(pending(weights).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def settle(weights: Path) -> None:
    """Finish or drop a promotion that was cut off: the weights' hash says which. Only for who may write."""
    promised = read_pending(weights).get("sha256")
    if promised and weights.exists() and hash_file(weights) == promised:
        pending(weights).replace(record_path(weights))
    else:
        pending(weights).unlink(missing_ok=True)


@contextmanager
def writing(weights: Path) -> Iterator[None]:
    """Have a champion's folder to oneself. The system frees it when its holder dies.

    Raises:
        LoraError: somebody else has been writing for too long.
    """
    weights.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(weights.with_name(f".{weights.name}.lock"), timeout=PATIENCE_S):
            yield
    except Timeout as error:
        raise LoraError(f"{weights}: another process has been writing here for {PATIENCE_S:.0f} s; end it") from error


def rescale(lora: Path, out: Path, factor: float) -> Path:
    """A copy whose strength 1 is the original's strength `factor`; the metadata keep the product of all factors."""
    tensors, metadata = read_tensors(lora)
    scaled = {name: tensor * factor if UP.search(name) else tensor for name, tensor in tensors.items()}
    total = float(metadata.get("harness.scale", "1")) * factor
    write_tensors(out, scaled, {**metadata, "harness.scale": f"{total:g}"})
    return out
