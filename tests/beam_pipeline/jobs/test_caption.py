"""`clipseed caption`: films and a captioner to a run directory."""

from pathlib import Path

import pytest

from beam_pipeline.caption import run
from beam_pipeline.commands.inspect import run as inspect
from clipseed.elements import PSEUDOLABEL
from clipseed.run.reader import Run
from tests.support.made_media import film, truncate, write_video
from tests.support.mined import SMALL, TWO_WORKERS
from tests.support.models.made_captioner import write_captioner
from tests.support.reference import needs_references

pytestmark = needs_references
GREEDY = ("--beams=1", "--max_tokens=8", "--clip_s=2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captioned")
    (folder / "videos").mkdir()
    write_video(folder / "videos/long.mp4", film(1, 5.2))
    write_video(folder / "videos/short.mkv", film(2, 0.8))
    truncate(write_video(folder / "videos/broken.mp4", film(3, 2)), 0.3)
    write_captioner(folder / "captioner")
    return folder


def caption(corpus: Path, output: Path, *more: str) -> int:
    places = [f"--{name}={corpus / name}" for name in ("videos", "captioner")]
    return run([*places, f"--output={output}", *GREEDY, *more])


def test_films_become_captioned_clips(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The remainder of a film is a clip from half a clip on."""
    output = tmp_path / "run"
    assert caption(corpus, output, *SMALL) == 0
    made = Run.open(output, verify="checksums")
    assert sorted(made.pairs_csv()) == [
        ("long.mp4", 0, 2_000_000, "w124"),
        ("long.mp4", 2_000_000, 4_000_000, "w124"),
        ("long.mp4", 4_000_000, 5_200_000, "w124"),
    ]
    for pair in made.pairs():
        assert (pair.source, pair.rank) == (PSEUDOLABEL, 1)
        assert 0 < pair.similarity < 1 and pair.start_us <= pair.time_us < pair.end_us
    assert [clip.captions[0].source for clip in made.clips()] == [PSEUDOLABEL] * 3
    assert made.mining.embedder.startswith("blip@")
    assert all(stage.balanced for stage in made.mining.accounting)
    reasons = {(d.key, d.stage, d.reason) for d in made.dead_letters()}
    assert ("short.mkv", "extract_frames", "no_frames") in reasons
    assert len(reasons) == 2  # and the broken one
    assert inspect([str(output), "--verify", f"--sheet={tmp_path / 'sheet.png'}"]) == 0
    assert "3, 3 captioned" in " ".join(capsys.readouterr().out.split())


@pytest.mark.ci_only
def test_other_workers_write_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    more = ("--sample_fps=2", "--captions_per_clip=2", "--choose=consensus")
    for name, workers in (("one", SMALL), ("two", ("--num_shards=2", *TWO_WORKERS))):
        assert caption(corpus, tmp_path / name, *workers, *more) == 0
    for file in Run.open(tmp_path / "one").manifest.files:
        paths = [tmp_path / name / file.path for name in ("one", "two")]
        assert paths[0].read_bytes() == paths[1].read_bytes(), file.path


@pytest.mark.ci_only
def test_captions_that_never_end_leave_no_clip(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endless = write_captioner(tmp_path / "endless", end_id=5)
    output = tmp_path / "run"
    assert caption(corpus, output, *SMALL, f"--captioner={endless}") == 1
    assert "no clip was written" in capsys.readouterr().err
    rejected = [d for d in Run.open(output).dead_letters() if d.key.startswith("long")]
    assert [d.reason for d in rejected] == ["endless_caption"] * 3
    assert inspect([str(output), "--verify"]) == 0


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--captioner={folder}/nothing", "config.json does not exist"),
        ("--captioner={folder}/videos", "config.json does not exist"),
        ("--captioner=hf:no/such/model", "is not the id of a model"),
        ("--max_tokens=99", "at most 24 tokens"),
    ],
)
def test_captioners_that_cannot_be_used_are_refused(
    corpus: Path,
    tmp_path: Path,
    flag: str,
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert caption(corpus, tmp_path / "run", flag.format(folder=corpus)) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
