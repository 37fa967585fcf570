"""What commands print: tables drawn by rich on a terminal, plain lines in a pipe.

    show(facts([("seeds", "3 of 3 rows"), ("pairs", "12")]))

Scripts parse the plain lines: they do not depend on a terminal's width or colors.
"""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TextIO

from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text


class Block(NamedTuple):
    """Something to print.

    Attributes:
        plain: for a pipe.
        drawn: for a terminal.
    """

    plain: str
    drawn: RenderableType


def show(block: Block) -> None:
    """Print a block on stdout, drawn if that is a terminal that can show it."""
    if sys.stdout.isatty() and _encoding(sys.stdout).lower() in ("utf-8", "utf8"):
        Console().print(block.drawn)
    else:
        say(block.plain)


def say(text: str, to_error: bool = False) -> None:
    """Print; escape with a backslash what the encoding of the stream lacks."""
    stream = sys.stderr if to_error else sys.stdout
    encoding = _encoding(stream)
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def facts(rows: Sequence[tuple[str, str]]) -> Block:
    """Return named facts, one per line."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="bold")
    grid.add_column(overflow="fold")
    for name, text in rows:
        grid.add_row(Text(name), Text(text))
    return Block("\n".join(f"{name:>8}  {text}" for name, text in rows), grid)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Collection[str] = (),
) -> Table:
    """Return a table to draw on a terminal.

    Args:
        title: above the table; "": none.
        columns: their names.
        rows: cells, which are not read as markup.
        numbers: names of the columns to align on the right.
    """
    drawn = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for name in columns:
        justify: JustifyMethod = "right" if name in numbers else "left"
        drawn.add_column(name, justify=justify, overflow="fold")
    for cells in rows:
        drawn.add_row(*map(Text, cells))
    return drawn


def markdown_table(text: str) -> Block:
    """Return text that begins with a Markdown table, to be drawn as a table."""
    lines = text.split("\n")
    count = next((i for i, line in enumerate(lines) if line[:1] != "|"), len(lines))
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[:count]]
    head, _, *body = rows
    drawn = table("", head, body, numbers=head[1:])
    return Block(text, Group(drawn, Text("\n".join(lines[count:]))))


def _encoding(stream: TextIO) -> str:
    return stream.encoding or "utf-8"
