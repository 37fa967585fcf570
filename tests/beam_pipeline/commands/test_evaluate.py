"""What `clipseed evaluate` refuses before it reads anything."""

from pathlib import Path

import pytest

from beam_pipeline.cli import main


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--segments=0"], "--segments"),
        (["--output={}/absent/figures.json"], "cannot write --output"),
        (["--output={}"], "cannot write --output"),
        (["--v2t=other"], "--v2t"),
    ],
)
def test_it_is_one_line(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [flag.format(tmp_path) for flag in flags]
    assert main(["evaluate", "model", "--data=run", *given]) == 2
    told = capsys.readouterr()
    assert said in told.err and "Traceback" not in told.err and told.out == ""
    assert told.err.startswith(("clipseed evaluate: ", "usage: ")), told.err
