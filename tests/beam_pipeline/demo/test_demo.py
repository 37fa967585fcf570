"""The demo as a user runs it: what it finds, to the byte."""

from pathlib import Path

import pytest

from beam_pipeline.commands import demo
from clipseed.hashing import checksum, content_id
from tests.support.known_results import checksums, known_results


def corpus_id(corpus: Path) -> str:
    """Return a name of all files of a rendered corpus."""
    files = sorted(path for path in corpus.rglob("*") if path.is_file())
    return content_id(
        "\n".join(f"{path.relative_to(corpus)} {checksum(path)}" for path in files)
    )


@pytest.mark.ci_only
def test_the_demo_finds_what_the_first_version_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.run(["--output", str(tmp_path)]) == 0
    assert "16 of 16 seeds found in their own scene" in capsys.readouterr().out
    known = known_results("demo")
    rendered = known.pop("corpus")
    found = checksums(tmp_path / "run")
    assert found["pairs.csv"] == known["pairs.csv"]
    if corpus_id(tmp_path / "corpus") != rendered:
        pytest.skip("this machine renders other films: their clips cannot be compared")
    assert found == known
