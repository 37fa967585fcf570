"""A block is drawn on a terminal, and plain lines everywhere else."""

import io

import pytest

from beam_pipeline.report.terminal import Block, facts, markdown_table, say, show, table


class Stream(io.TextIOWrapper):
    """A stdout that may be a terminal."""

    def __init__(self, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def written(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


ROWS = [["[red]", "ünïcödé", "1"]]
BLOCK = Block("plain ü", table("Title", ["a", "b", "count"], ROWS, numbers=["count"]))


def shown(
    monkeypatch: pytest.MonkeyPatch, stream: Stream, block: Block = BLOCK
) -> list[str]:
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    show(block)
    return stream.written.splitlines()


def test_a_pipe_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Stream(terminal=False)) == ["plain ü"]


def test_a_terminal_gets_a_table_of_text_not_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = shown(monkeypatch, Stream(terminal=True))
    assert lines[0].strip() == "Title"
    (row,) = (line.split() for line in lines if "ünïcödé" in line)
    assert row == ROWS[0]


def test_a_terminal_that_cannot_show_it_gets_plain_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Stream(terminal=True, encoding="ascii")
    assert shown(monkeypatch, stream) == ["plain \\xfc"]


def test_errors_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("broken", to_error=True)
    assert capsys.readouterr() == ("", "broken\n")


def test_facts_are_aligned_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    block = facts([("seeds", "3 of 3 rows"), ("pairs", "12")])
    assert block.plain == "   seeds  3 of 3 rows\n   pairs  12"
    lines = shown(monkeypatch, Stream(terminal=True), block)
    assert [line.split() for line in lines] == [
        ["seeds", "3", "of", "3", "rows"],
        ["pairs", "12"],
    ]


def test_a_markdown_table_is_drawn_and_what_follows_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "| | R@1 |\n|---|---|\n| text to clip | 9.4 |\n| paper | |\n\n- a_b*: gone"
    block = markdown_table(text)
    assert block.plain == text
    lines = shown(monkeypatch, Stream(terminal=True), block)
    assert any(line.split() == ["text", "to", "clip", "9.4"] for line in lines)
    assert lines[-1].strip() == "- a_b*: gone" and not any("|" in li for li in lines)
