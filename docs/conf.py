"""The documentation as a site: `python -m sphinx -W -b html docs docs/_build`."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

import harness.judging.record  # noqa: F401  (autodoc reloads what it imports first, which pydantic does not survive)
from harness import __version__

HERE = Path(__file__).resolve().parent

project = "lora-harness"
release = version = __version__
copyright = "the lora-harness authors"
root_doc = "README"  # one index for readers of the folder and of the site
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "lora-harness"
html_copy_source = False
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True


def setup(app: Sphinx) -> None:
    app.connect("source-read", prepare)


def prepare(app: Sphinx, name: str, source: list[str]) -> None:
    """The index gets the tree that its own tables list; what lies outside the site is said by name, not by a link."""
    if name == root_doc:
        source[0] += tree(source[0])

    def keep(link: re.Match[str]) -> str:
        target = (HERE / name).parent / link[2].partition("#")[0]
        return link[0] if ":" in link[2] or target.resolve().is_relative_to(HERE) else link[1]

    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", keep, source[0])


def tree(index: str) -> str:
    """A hidden table of contents: one a heading of the index, of the pages that are linked below it."""
    lines: list[str] = []
    for section in re.split(r"^#+ ", index, flags=re.MULTILINE)[1:]:
        pages = [link for link in re.findall(r"\]\(([^)#]+)\.md\)", section) if not link.startswith("..")]
        if pages:
            caption = section.partition("\n")[0]
            lines += ["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *dict.fromkeys(pages), "```"]
    return "\n".join(lines)
