"""What git knows of a folder: its commit, where a branch began, a file as it stood. It changes nothing."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from harness.core.errors import UsageError

GIT_S = 60.0  # patience with git


def git(folder: Path, *words: str) -> str:
    """What git answers in a folder, without the last newline.

    Raises:
        UsageError: there is no git, or it says no; in its own words.
    """
    command = ["git", "-C", str(folder), *words]
    try:
        done = subprocess.run(  # noqa: S603  (words of ours, a checked reference, and no shell)
            command, capture_output=True, text=True, encoding="utf-8", timeout=GIT_S, check=False
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed; install it, or name a file with --baseline FILE") from error
    except (subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise UsageError(f"git {words[0]}: {error}") from error
    if done.returncode:
        raise UsageError(f"git {words[0]}: {' '.join(done.stderr.split()) or 'no answer'}")
    return done.stdout.removesuffix("\n")


def git_state(folder: Path) -> dict[str, object]:
    """The commit that a folder stands at; nothing outside a repository."""
    try:
        commit = git(folder, "rev-parse", "HEAD")
        dirty = bool(git(folder, "status", "--porcelain", "--untracked-files=no"))
    except UsageError:
        return {}
    return {"commit": commit, "uncommitted_changes": dirty}


def find_commit(folder: Path, reference: str, target: str = "") -> str:
    """The commit that `--baseline git:REF` means.

    Args:
        reference: anything that git knows; `merge-base`: where this branch left the default one.
        target: the branch that CI says a change is for.

    Raises:
        UsageError: no git, no repository, no such commit.
    """
    if reference != "merge-base":
        return git(folder, "rev-parse", "--verify", "--end-of-options", f"{reference}^{{commit}}")
    branch = find_branch(folder, target)
    try:
        return git(folder, "merge-base", "HEAD", branch)
    except UsageError as error:
        raise UsageError(
            f"HEAD and {branch} have no common commit here; a shallow clone lacks it: fetch the whole history "
            "(actions/checkout: fetch-depth: 0), or name a commit with --baseline git:REF"
        ) from error


def find_branch(folder: Path, target: str = "") -> str:
    """The default branch, the remote's before our own."""
    git(folder, "rev-parse", "--verify", "HEAD")  # outside a repository git says so
    names = [f"origin/{target}", target] if target else []
    with suppress(UsageError):  # a repository that was not cloned has none
        names.append(git(folder, "symbolic-ref", "--short", "refs/remotes/origin/HEAD"))
    for name in [*names, "origin/main", "origin/master", "main", "master"]:
        try:
            git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except UsageError:
            continue
        return name
    raise UsageError("git knows neither origin/HEAD nor a branch main or master; name a commit: --baseline git:REF")


def read_commit(path: Path, commit: str) -> str | None:
    """A file as it stood at a commit, without checking anything out; None when it was not there yet."""
    folder, name = path.parent.parent, f"./{path.parent.name}/{path.name}"
    if not git(folder, "ls-tree", "--name-only", commit, name):
        return None
    return git(folder, "show", f"{commit}:{name}")
