"""The wheel carries what `pytest suites/` needs; everything else stands in pyproject.toml."""

from pathlib import Path
from shutil import copyfile, copytree

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
DATA = ("suites", "references", "fixtures", "conftest.py", ".env.example")


class BuildWithData(build_py):
    """Puts suites, references and models into the package, where `harness.profile.data_root` looks for them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # a checkout has them beside the package
            return
        for name in DATA:
            source, target = ROOT / name, Path(self.build_lib) / "harness" / "data" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                copytree(source, target, dirs_exist_ok=True)
            else:
                copyfile(source, target)


setup(cmdclass={"build_py": BuildWithData})
