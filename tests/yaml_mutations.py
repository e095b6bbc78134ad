"""Broken YAML by the thousand: each mutation takes the text of a shipped file and a seeded chance, and gives bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Mutation = Callable[[str, random.Random], str | bytes]

SCALARS = (
    "nan", ".nan", ".inf", "-.inf", "1e999", "1.0e+999", "-1", "0", "0x1F", "0o17", "1_000", "190:20:30", "2024-02-30",
    "2024-13-45", "2001-12-14t21:59:43Z", "~", "null", "true", "off", "''", '""', "[]", "{}", "[a, b]", "{a: b}",
    "[[]]", "3.5", "-0.0", ".5", "@", "%", "&", "*", "!", "|", ">", "'\"'", "9" * 400, '"\\0"', '"\\u202e"',
)  # fmt: skip
STRANGE = ("\u202e", "\u0000", "\u200b", "\ufeff", "\u2028", "\x85", "\x07", "қазақ", "🐎", "\U0010ffff", "\ufffe")
TAGS = (
    "!!python/object:os.system", "!!python/name:os.system", "!!python/object/apply:os.system [id]", "!!binary",
    "!!timestamp", "!!bool", "!!int", "!!float", "!!null", "!!set", "!!omap", "!!pairs", "!!merge", "!own", "!<x>",
    "!!map", "!!seq", "!!str", "!!value", "!!yaml", "!!int '0b'", "!!int ''", "!!float ''", "!!timestamp maybe",
    "!!bool maybe", "!!binary '%%%'",
)  # fmt: skip
TEXTS = ('"\\0"', "a/" * 3000, '"../../../../etc/passwd"', '"{trigger} {nobody}"', '"{"', '"{{{{}}}}"', "x" * 10_000)
KEYS = ("suit", "Version", "threshold", "__class__", "<<", "1", "null", "? [a, b]", "~", "'cases '", "id", '"\\0"')


def rows(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def at_row(change: Callable[[str, random.Random], list[str]]) -> Mutation:
    """A mutation of one line that says something."""

    def mutate(text: str, chance: random.Random) -> str:
        lines = rows(text)
        place = chance.choice([n for n, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")])
        return "".join([*lines[:place], *change(lines[place], chance), *lines[place + 1 :]])

    return mutate


def with_value(values: tuple[str, ...] | list[str]) -> Mutation:
    """Some key's value replaced."""

    def change(line: str, chance: random.Random) -> list[str]:
        places = list(re.finditer(r"[\w-]+\s*:\s*([^,{}\n]+)", line))
        if not places:
            return [line]
        found = chance.choice(places)
        return [line[: found.start(1)] + chance.choice(values) + line[found.end(1) :]]

    return at_row(change)


def with_key(line: str, chance: random.Random) -> list[str]:
    return [re.sub(r"([\w-]+)(\s*:)", lambda found: chance.choice(KEYS) + found[2], line, count=1)]


def with_tag(line: str, chance: random.Random) -> list[str]:
    return [re.sub(r":\s*(?=\S|$)", lambda found: f": {chance.choice(TAGS)} ", line, count=1)]


def with_text(line: str, chance: random.Random) -> list[str]:
    place = chance.randrange(len(line))
    return [line[:place] + chance.choice(STRANGE) * chance.choice((1, 1, 5)) + line[place:]]


def added_block(text: str, chance: random.Random) -> str:
    """Aliases that grow, aliases of themselves, anchors twice, merge keys, depth, a second document."""
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
    )
    block = chance.choice(
        (
            bomb, "loop: &l [*l]\n", "loop: &l {again: *l}\n", "one: &a 1\ntwo: &a 2\nthree: *a\n", "x: *nobody\n",
            "<<: {samples: 4}\n", "base: &b {samples: 4}\n<<: *b\n", "deep: " + "[" * 5000 + "\n",
            "deep: " + "[" * 40 + "]" * 40 + "\n", "deep: " + "{a: " * 40 + "}" * 40 + "\n", "---\nversion: 1\n",
            "...\n", "}\n", "many: [" + "1, " * 200_000 + "1]\n", "? {a: b}\n: c\n", "%YAML 9.9\n",
            "- stray\n", "cases: []\n",
            "matrix: {prompt: '{a}', a: [" + ", ".join(f"v{n}" for n in range(20_000)) + "]}\n",
            "include: ['../../etc/passwd']\n", 'include: ["\\0"]\n', "include: ['" + "x" * 5000 + "']\n",
        )
    )  # fmt: skip
    return block + text if chance.random() < 0.3 else text.rstrip("\n") + "\n" + block


def swapped(text: str, chance: random.Random) -> str:
    lines = rows(text)
    first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return "".join(lines)


def truncated(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(1, len(text))]


def broken_bytes(text: str, chance: random.Random) -> bytes:
    data = bytearray(text.encode())
    for _ in range(chance.choice((1, 3, 30))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def binary(text: str, chance: random.Random) -> bytes:
    """Its beginning stays, so that it is still taken for a suite when it lies in a folder."""
    return text.encode()[: chance.randrange(200)] + b"\n" + chance.randbytes(chance.choice((3, 300, 30_000)))


def encoded(text: str, chance: random.Random) -> bytes:
    return text.encode(chance.choice(("utf-8-sig", "utf-16", "utf-32", "utf-16-be")))


def newlines(text: str, chance: random.Random) -> str:
    return text.replace("\n", chance.choice(("\r\n", "\r", "\n\n", "\u2028", "\n\t", "\n  ")))


MUTATIONS: dict[str, Mutation] = {
    "deleted line": at_row(lambda line, chance: []),
    "duplicated line": at_row(lambda line, chance: [line, line]),
    "indented line": at_row(lambda line, chance: [" " * chance.randrange(1, 9) + line]),
    "line with a tab": at_row(lambda line, chance: ["\t" + line]),
    "outdented line": at_row(lambda line, chance: [line.lstrip()]),
    "another value": with_value(list(SCALARS)),
    "strange text": with_value(list(TEXTS)),
    "another key": at_row(with_key),
    "a tag": at_row(with_tag),
    "strange characters": at_row(with_text),
    "a value without its key": at_row(lambda line, chance: [line.partition(":")[2] or line]),
    "a value lost": at_row(lambda line, chance: [line.partition(":")[0] + ":\n"]),
    "an unknown key": at_row(lambda line, chance: [line, re.match(r"\s*", line)[0] + "surprise: 1\n"]),  # type: ignore[index]
    "a block": added_block,
    "swapped lines": swapped,
    "truncated": truncated,
    "broken bytes": broken_bytes,
    "binary": binary,
    "another encoding": encoded,
    "other newlines": newlines,
}


def mutate(text: str, seed: int) -> tuple[str, bytes]:
    """(which mutations, the file's bytes); the same seed gives the same file."""
    chance = random.Random(seed)
    names = [list(MUTATIONS)[seed % len(MUTATIONS)], *chance.sample(list(MUTATIONS), chance.choice((0, 0, 1, 2)))]
    found: str | bytes = text
    for name in names:
        if (
            isinstance(found, bytes)
            or not found.strip()
            or not any(line.strip() and not line.lstrip().startswith("#") for line in rows(found))
        ):
            break
        found = MUTATIONS[name](found, chance)
    return " + ".join(names), found if isinstance(found, bytes) else found.encode("utf-8", "surrogatepass")
