"""`harness lora merge`: several LoRAs with their strengths in one file."""

from __future__ import annotations

from pathlib import Path

from harness.commands.lora.common import dtype_of, dtype_option, print_lines, print_written, show_costs
from harness.commands.options import argument, command, option
from harness.core.settings import parse_lora
from harness.core.values import hash_file
from harness.models.lora.convert import Style, export_file
from harness.models.lora.file import read_lora


@command
@argument("loras", nargs=-1, required=True, metavar="FILE[@STRENGTH]...")
@option("--out", type=Path, required=True)
@option("--rank", type=int, metavar="R", help="bring the result to this rank (default: exact, ranks add up)")
@option("--energy", type=float, metavar="SHARE", help="keep so much of each module's energy")
@dtype_option
def merge(loras: tuple[str, ...], out: Path, rank: int | None, energy: float | None, dtype: str) -> int:
    from harness.models.lora.merge import Ingredient, concatenate
    from harness.models.lora.resize import resize

    results = [parse_lora(text, Path.cwd(), "") for text in loras]
    items = [Ingredient(item.path, hash_file(item.path), read_lora(item.path), item.strength) for item in results]
    mixture = concatenate(items, dtype_of(dtype))
    notes = mixture.notes
    if rank is not None or energy is not None:
        resized = resize(mixture, rank, energy)
        mixture = resized.lora
        print("\n".join(show_costs(resized)))
    export_file(mixture, out, Style("diffusers"))
    print_written(out)
    print_lines(notes, "mind: ")
    return 0
