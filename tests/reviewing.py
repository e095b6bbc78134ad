"""A small project with runs to review: real pictures, real LoRA files, a real server on a free port."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import requests

from harness.core.values import hash_file
from harness.judging.record import to_lines
from harness.models.lora.registry import promote, register_challenger
from harness.report.review.app_state import AppState
from harness.report.review.server import ReviewServer
from harness.store import Store
from tests.example_run import SCENES, example_record, plain
from tests.support import ROOT
from tests.test_registry import write_lora

SUITE = "aldar-kose"
YAML = """
version: 1
suite: aldar-kose
subject:
  name: Aldar Kose
  trigger: aldar kose
  lora: ../loras/champion.safetensors
  references: REFERENCES
providers: [lora, base, prompt_only, painter]
gate: [lora]
samples: 3
cases:
CASES
"""


@dataclass
class Project:
    """A repository with a suite, a champion, a challenger, and one run of each."""

    root: Path
    store: Store
    champion: str = ""  # SHA-256
    challenger: str = ""
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def weights(self) -> Path:
        return self.root / "loras" / "champion.safetensors"

    @property
    def reviews(self) -> Path:
        return self.root / "reviews" / SUITE

    def add_run(self, name: str, lora: str, level: float, started: str, **changes: Any) -> dict[str, Any]:
        """A run's report in reports/NAME."""
        recipe = {"model": "cd" * 32, "steps": 16, "dtype": "float32", "lora": lora, "strength": 1.0}
        record = plain(example_record(self.store, level, recipe={"lora": recipe}, **changes))
        record["run"] = {**record["run"], "id": name, "started": started}
        folder = self.root / "reports" / name
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(to_lines(record), encoding="utf-8")
        self.records[name] = record
        return record

    def lines(self) -> list[dict[str, Any]]:
        """The audit file."""
        return [json.loads(line) for line in (self.reviews / "decisions.jsonl").read_text("utf-8").splitlines()]


def make_project(root: Path) -> Project:
    """Champion 0.75 by quality, challenger 0.9; both runs are whole and green."""
    (root / "suites").mkdir(parents=True)
    text = YAML.replace("REFERENCES", (ROOT / "references" / "aldar_kose").as_posix())
    cases = [f'  - {{id: {name}, prompt: "{{trigger}}, {name}"}}' for name in SCENES if not name.startswith("locked")]
    (root / "suites" / "aldar_kose.yaml").write_text(text.replace("CASES", "\n".join(cases)), encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    subprocess.run(["git", "-C", str(root), "config", "user.name", "Aigerim"], check=True)
    project = Project(root, Store(root / ".harness"))
    promote(write_lora(root / "first.safetensors", 1.0), project.weights, {}, "the first one")
    kept = register_challenger(
        write_lora(root / "second.safetensors", 2.0), project.weights, {"source": "second.safetensors", "taken": "2026"}
    )
    project.champion, project.challenger = hash_file(project.weights), hash_file(kept)
    project.add_run("champion", project.champion, 0.75, "2026-01-01T12:00:00+00:00")
    project.add_run("challenger", project.challenger, 0.9, "2026-01-02T12:00:00+00:00")
    return project


def copy_project(project: Project, root: Path) -> Project:
    """The same in another folder, to be changed."""
    shutil.copytree(project.root, root, dirs_exist_ok=True)
    return replace(project, root=root, store=Store(root / ".harness"))


class Browser(requests.Session):
    """A client that has the token and reads the secret of the forms; it goes where it is sent."""

    def __init__(self, server: ReviewServer, enter: bool = True) -> None:
        super().__init__()
        self.home, self.server = f"http://{server.hosts[0]}", server
        self.trust_env = False
        if enter:
            assert self.get(server.address).status_code == 200

    def page(self, path: str, **query: str) -> str:
        reply = self.get(self.home + path, params=query)
        assert reply.status_code == 200, reply.text
        return reply.text

    def submit(self, path: str, headers: dict[str, str] | None = None, **form: str) -> requests.Response:
        """A form of ours."""
        fields = {"csrf": self.server.secret, **form}
        return self.post(self.home + path, data=fields, headers={"Origin": self.home, **(headers or {})})

    def vote(self, choice: str) -> requests.Response:
        """The answer to the pair that is shown."""
        form = re.search(
            r'name="pair" value="(\w+)"><input type="hidden" name="left" value="(\w+)"', self.page("/vote")
        )
        assert form
        return self.submit("/vote", suite=SUITE, pair=form[1], left=form[2], choice=choice)


@contextmanager
def serving(project: Project, who: str = "Aigerim") -> Iterator[ReviewServer]:
    """The server over a project."""
    server = ReviewServer(AppState(project.root, project.root / "reports", project.store, who), 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
