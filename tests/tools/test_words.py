"""The word list finds what it forbids, and nothing in plain English."""

from pathlib import Path

import pytest

from tools import words


def texts(source: str) -> list[str]:
    return [found.text for found in words.check_python(source)]


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("optimiser = 1\n", "optimiser"),
        ("def set_colour(): ...\n", "set_colour"),
        ("x = NeighbourTable()\n", "NeighbourTable"),
        ("part_span_us = 1\n", "part_span_us"),
        ("reject = error\n", "reject"),
        ("# It gives a path.\n", "gives"),
        ('"""A file that lies in a folder."""\n', "lies in"),
        ('raise ValueError(f"{uri} is no folder")\n', "is no"),
        ("# One task, one file a shard.\n", "one file a shard"),
        ("# Uses the behaviour of others.\n", "behaviour"),
        ('def f():\n    """Reads a file."""\n', "Reads"),
        ('def f():\n    """The path of a file."""\n', "The"),
    ],
)
def test_finds(source: str, word: str) -> None:
    assert texts(source) == [word]


@pytest.mark.parametrize(
    "source",
    [
        "# There is no such file, and it is no longer needed.\n",
        "# Stand in for the model. Thirty frames a second.\n",
        "# The coordinator rejects a bad input. Minimise\n".replace("se\n", "ze\n"),
        'def f():\n    """Return the path; process it."""\n',
        '@property\ndef f(self):\n    """The path of the file."""\n',
        'def f():\n    """Process a file."""\n',
        "finalist = wise = lifespan = 1\n",
    ],
)
def test_accepts(source: str) -> None:
    assert texts(source) == []


def test_phrases_are_found_over_line_breaks_and_on_their_line() -> None:
    source = (
        'x = 1\nmessage = (\n    "this is"\n    " no folder"\n)\n# what is\n# no use\n'
    )
    found = words.check_python(source)
    assert [(f.line, f.advice) for f in found] == [(3, "is not a"), (6, "is not a")]


def test_markdown_is_read_without_its_code() -> None:
    source = "It `gives` this:\n```\nIt gives up.\n```\nIt gives all.\n"
    assert [found.line for found in words.check_markdown(source)] == [5]


def test_every_finding_is_reported_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(words, "ROOT", tmp_path)
    monkeypatch.setattr(words, "_tracked_files", lambda: ["a.py", "b.py"])
    (tmp_path / "b.py").write_text("color = 1\n")
    (tmp_path / "a.py").write_text("x = 1\ncolour = 1\n")
    assert words.main([]) == 1
    assert capsys.readouterr().out == "a.py:2: 'colour': use American spelling\n"
    assert words.main(["b.py"]) == 0
