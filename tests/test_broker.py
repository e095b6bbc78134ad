from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.errors import EngineError, SuiteError
from harness.core.values import Decision, Job
from harness.engine.broker import Broker, RemoteRun
from harness.engine.run import Run
from tests.painter import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def run(studio: Studio) -> Iterator[Run]:
    opened = studio.run()
    yield opened
    opened.close()


@pytest.fixture
def broker(run: Run) -> Iterator[Broker]:
    opened = Broker(run)
    yield opened
    opened.close()


@pytest.fixture
def remote(broker: Broker) -> Iterator[RemoteRun]:
    opened = RemoteRun(**json.loads(json.dumps(broker.address)))
    yield opened
    opened.close()


def test_a_worker_sees_what_the_controller_sees(studio: Studio, run: Run, remote: RemoteRun) -> None:
    jobs = studio.jobs()
    remote.submit(jobs)

    assert [remote.result(job) for job in jobs] == [run.result(job) for job in jobs]
    assert [remote.verdict(job) for job in jobs] == [run.verdict(job) for job in jobs]
    assert remote.gate(jobs[0].path, "lora") == run.gate(jobs[0].path, "lora")
    assert remote.attempts(jobs[0]) == ()


def test_many_workers_draw_every_picture_once(studio: Studio, broker: Broker) -> None:
    decisions: list[Decision] = []

    def work() -> None:
        worker = RemoteRun(**broker.address)
        worker.submit(studio.jobs())
        decisions.extend(worker.verdict(job).decision for job in studio.jobs())
        worker.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len(decisions) == 4 * 8
    assert len(studio.drawn) == 16


def test_errors_arrive_under_their_own_type(studio: Studio) -> None:
    def misread(path: Path) -> None:
        raise SuiteError("unknown key 'promt'", path, 3)

    run = studio.run(suites=misread)
    broker = Broker(run)
    remote = RemoteRun(**broker.address)

    with pytest.raises(EngineError, match="never submitted"):
        remote.result(studio.jobs()[0])
    with pytest.raises(SuiteError, match=r"other.yaml:3: unknown key 'promt'"):
        remote.submit([Job("other.yaml", "a", "lora")])
    remote.close()
    broker.close()
    run.close()


def test_a_stranger_without_the_token_gets_no_answer(broker: Broker, studio: Studio) -> None:
    stranger = RemoteRun(broker.address["address"], "guessed")

    with pytest.raises(EngineError, match="gone away"):
        stranger.submit(studio.jobs())
    stranger.close()
    with socket.create_connection(tuple(broker.address["address"])) as link:
        link.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert link.recv(100) == b""
    assert studio.drawn == []


def test_only_known_questions_are_answered(remote: RemoteRun) -> None:
    with pytest.raises(EngineError, match="cannot be asked for 'close'"):
        remote._ask("close", None)


def test_a_closing_broker_releases_a_waiting_worker(studio: Studio) -> None:
    studio.painters["base"]["delay"] = 0.5
    run = studio.run()
    broker = Broker(run)
    remote = RemoteRun(**broker.address)
    remote.submit(studio.jobs())
    closing = threading.Timer(0.5, broker.close)
    closing.start()
    started = time.monotonic()

    with pytest.raises(EngineError, match="controller"):
        remote.result(studio.jobs("base")[-1])

    assert time.monotonic() - started < 3
    closing.join()
    remote.close()
    run.close()


CONTROLLER = """
import json, sys, time
from pathlib import Path
from harness.engine.broker import Broker
from tests.painter import Studio
studio = Studio(Path(sys.argv[1]))
studio.painters["lora"]["delay"] = 30
broker = Broker(studio.run)
print(json.dumps(broker.address), flush=True)
time.sleep(60)
"""


def test_a_killed_controller_releases_a_waiting_worker(studio: Studio) -> None:
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", CONTROLLER, str(studio.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as controller:
        remote = RemoteRun(**json.loads(controller.stdout.readline() if controller.stdout else "{}"))
        remote.submit(studio.jobs())
        threading.Timer(0.5, controller.kill).start()

        with pytest.raises(EngineError, match="controller"):
            remote.result(studio.jobs("lora")[0])
    remote.close()
    with pytest.raises(EngineError, match="cannot be reached"):
        remote.submit(studio.jobs())


def test_a_worker_imports_nothing_heavy() -> None:
    code = "import sys; from harness.engine.broker import RemoteRun\n"
    code += "print([n for n in ('torch', 'numpy', 'scipy', 'PIL', 'sqlite3') if n in sys.modules])"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
