"""Requests to stored samples: the store first, then the providers, chunk by chunk, each picture kept at once."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from harness.core.errors import HarnessError, StoreError
from harness.core.pictures import BadPicture, check_picture
from harness.core.values import Generation, Outcome, Sample, to_record
from harness.engine.plan import Task
from harness.store import Journal, Store


class SampleGenerator:
    """The samples of one run, by request key; safe for several threads."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        fresh: bool = False,
        cancelled: Callable[[], bool] = lambda: False,
        drawn: Callable[[Task, Sample], None] = lambda task, sample: None,
    ) -> None:
        """`fresh`: what earlier runs drew does not count. `drawn` is told of each new sample."""
        self.store, self.journal, self.fresh = store, journal, fresh
        self.samples: dict[str, Sample] = {}
        self.generated = 0  # pictures that providers made in this run
        self.cached = 0  # pictures that the store had
        self._cancelled, self._drawn = cancelled, drawn
        self._lock = threading.Lock()
        self._most: dict[str, int] = {}  # provider to the largest batch that fits in memory, once it is known

    def missing(self, tasks: Sequence[Task]) -> list[Task]:
        """Take what the store has; returns what must be drawn."""
        keys = {task.request.key: task for task in tasks}
        unknown = [key for key in keys if key not in self.samples]
        if not self.fresh:
            result = self.store.samples(unknown)
            with self._lock:
                self.samples.update(result)
                self.cached += len(result)
        return [task for key, task in keys.items() if key not in self.samples]

    def draw(self, tasks: Sequence[Task]) -> Generator[Sample, None, None]:
        """Draw one chunk, all of one provider; every task ends as a sample, with a picture or with an outcome.

        Raises:
            StoreError: a picture cannot be kept.
        """
        size = self._most.get(tasks[0].provider.name, len(tasks)) if tasks else 1
        for start in range(0, len(tasks), size):
            yield from self._draw(tasks[start : start + size])

    def _draw(self, tasks: Sequence[Task]) -> Generator[Sample, None, None]:
        provider, done = tasks[0].provider, 0
        started = time.perf_counter()
        try:
            for drawing in provider.draw([task.request for task in tasks]):
                if done < len(tasks):  # cancelled or not: what came was paid for
                    yield self._keep(tasks[done], drawing, len(tasks))
                    done += 1
                if self._cancelled():
                    break
        except StoreError:
            raise
        except Exception as error:
            rest = tasks[done:]
            if is_out_of_memory(error) and len(rest) > 1:
                yield from self._halve(rest)
            else:
                yield from self._give_up(rest, explain(error, len(tasks)), time.perf_counter() - started)
            return
        if done < len(tasks) and not self._cancelled():
            yield from self._give_up(tasks[done:], f"answered {done} of {len(tasks)} requests", 0.0)

    def _halve(self, tasks: Sequence[Task]) -> Generator[Sample, None, None]:
        """Out of memory: smaller batches from now on, and on with the work."""
        free_memory()
        half = max(1, len(tasks) // 2)
        self._most[tasks[0].provider.name] = half
        self.journal.append({"event": "out_of_memory", "provider": tasks[0].provider.name, "batch": half})
        yield from self._draw(tasks[:half])
        yield from self.draw(tasks[half:])

    def _give_up(self, tasks: Sequence[Task], message: str, seconds: float) -> Generator[Sample, None, None]:
        for task in tasks:
            drawing = Generation(Outcome.PROVIDER_ERROR, message=message, seconds=seconds / len(tasks))
            yield self._keep(task, drawing, len(tasks))

    def _keep(self, task: Task, drawing: Generation, batch: int) -> Sample:
        """Check a drawing, store it, and tell of it; errors are told but not stored."""
        sample = to_sample(self.store, task, drawing)
        if sample.outcome is Outcome.OK and batch < min(task.request.batch, self._most.get(task.provider.name, 0)):
            sample = replace(sample, meta={**sample.meta, "batch": batch})
        self.store.put_sample(task.request, sample)
        record = to_record(replace(sample, meta={}))
        self.journal.append({"event": "sample", "provider": task.provider.name, "suite": task.suite, **record})
        with self._lock:
            self.samples[task.request.key] = sample
            self.generated += sample.outcome is Outcome.OK
        self._drawn(task, sample)
        return sample


def to_sample(store: Store, task: Task, drawing: Generation) -> Sample:
    """A drawing as a sample; its picture is in the store when the sample is ok."""
    sample = Sample(
        task.request.key,
        task.request.seed,
        drawing.outcome,
        message=drawing.message,
        seconds=round(drawing.seconds, 4),
        cost_usd=drawing.cost_usd,
        emulated=task.provider.emulated,
        meta=dict(drawing.meta),
    )
    if drawing.outcome is not Outcome.OK:
        return sample
    try:
        picture = check_picture(drawing.data, task.request)
    except BadPicture as error:
        message = f"{task.provider.name}: the picture {error}"
        return replace(sample, outcome=Outcome.BAD_IMAGE, message=message)
    meta = {**sample.meta, **picture.meta}
    if picture.original is not None:
        meta["original"] = store.put_image(picture.original)
    return replace(sample, image=store.put_image(picture.png), meta=meta)


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA, MPS and CPU say it in their own ways; torch is not imported to ask."""
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "not enough memory" in text)


def free_memory() -> None:
    """Give back what an aborted batch still holds, where torch is in use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def explain(error: Exception, batch: int) -> str:
    """An exception in words; the place only where it is a defect and not something that was foreseen."""
    if is_out_of_memory(error):
        return f"out of memory with a batch of {batch}: {error}; choose a smaller size, dtype or model in the profile"
    if isinstance(error, HarnessError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
