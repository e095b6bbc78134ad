"""Whole processes, timed from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Timing:
    """One finished process: wall seconds, peak resident memory of it and its children in GiB, and what it printed."""

    seconds: float
    peak_gib: float
    status: int
    output: str
    cpu_seconds: float = 0.0  # of the process and its children, which a busy machine stretches less


def run_pytest(arguments: Sequence[str], cwd: Path = ROOT) -> Timing:
    """Run pytest in a fresh process and watch its memory every 50 ms."""
    return run_python(["-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments], cwd)


def run_python(arguments: Sequence[str], cwd: Path = ROOT) -> Timing:
    """Run Python in a fresh process and watch its memory every 50 ms."""
    command = [sys.executable, *arguments]
    started, peak, spent = time.monotonic(), 0.0, cpu_of_children()
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        watched = psutil.Process(process.pid)
        while True:
            try:
                output, _ = process.communicate(timeout=0.05)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, resident(watched))
    return Timing(time.monotonic() - started, peak, process.returncode, output, cpu_of_children() - spent)


def cpu_of_children() -> float:
    """Processor seconds of all children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def resident(process: psutil.Process) -> float:
    """Resident memory of a process and its children, GiB; 0 when it has just gone."""
    try:
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family) / 2**30
    except psutil.Error:
        return 0.0
