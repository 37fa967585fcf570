"""`clipseed transcribe`: films and their transcripts to a run directory."""

from pathlib import Path

import pytest

from beam_pipeline.commands.inspect import run as inspect
from beam_pipeline.transcribe import run
from clipseed.elements import ASR
from clipseed.run.reader import Run
from tests.support.made_media import film, tone, truncate, write_video
from tests.support.mined import SMALL, TWO_WORKERS

VTT = """WEBVTT

00:01.000 --> 00:03.000
<v Ann>Cut &amp; fold

00:02.000 --> 00:07.500
the paper [Music]

00:99 --> 1
lost

09:00.000 --> 09:04.000
after the end
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talks")
    for name in ("videos", "transcripts"):
        (folder / name).mkdir()
    write_video(folder / "videos/talk.mp4", film(1, 8), sound=tone(8))
    write_video(folder / "videos/mute.mkv", film(2, 5))
    truncate(write_video(folder / "videos/broken.mp4", film(3, 2)), 0.3)
    for name in ("talk.en.vtt", "mute.srt", "broken.vtt"):
        (folder / "transcripts" / name).write_text(VTT)
    return folder


def transcribe(corpus: Path, output: Path, *more: str) -> int:
    places = [f"--{name}={corpus / name}" for name in ("videos", "transcripts")]
    return run([*places, f"--output={output}", *more])


def test_what_is_said_becomes_clips(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    assert transcribe(corpus, output, *SMALL) == 0
    made = Run.open(output, verify="checksums")
    assert made.mining.source == ASR and made.mining.embedder == "transcripts"
    assert sorted(made.pairs_csv()) == [
        ("mute.mkv", 0, 4_000_000, "Cut & fold"),
        ("mute.mkv", 2_000_000, 5_000_000, "the paper"),
        ("talk.mp4", 0, 4_000_000, "Cut & fold"),
        ("talk.mp4", 2_000_000, 7_500_000, "the paper"),
    ]
    assert {pair.source for pair in made.pairs()} == {ASR}
    assert [clip.captions[0].source for clip in made.clips()] == [ASR] * 4
    assert all(stage.balanced for stage in made.mining.accounting)
    reasons = {(d.stage, d.reason) for d in made.dead_letters()}
    assert ("read_transcripts", "bad_times") in reasons
    assert inspect([str(output), "--verify", f"--sheet={tmp_path / 'sheet.png'}"]) == 0
    said = capsys.readouterr().out
    assert "12 utterances, 9 used" in " ".join(said.split())


@pytest.mark.ci_only
def test_other_workers_write_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    for name, workers in (("one", SMALL), ("two", ("--num_shards=2", *TWO_WORKERS))):
        assert transcribe(corpus, tmp_path / name, *workers) == 0
    for file in Run.open(tmp_path / "one").manifest.files:
        paths = [tmp_path / name / file.path for name in ("one", "two")]
        assert paths[0].read_bytes() == paths[1].read_bytes(), file.path


def start(corpus: Path, output: Path, flags: list[str]) -> int:
    given = [flag.format(folder=corpus / "videos") for flag in flags]
    return run([f"--videos={corpus / 'videos'}", f"--output={output}", *given])


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ([], "give either --transcripts or --recognizer"),
        (["--transcripts={folder}", "--recognizer=pocketsphinx"], "give either"),
        (["--transcripts={folder}", "--min_clip_s=70"], "--min_clip_s 70"),
    ],
)
def test_flags_that_exclude_each_other_are_refused(
    corpus: Path,
    tmp_path: Path,
    flags: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        start(corpus, tmp_path / "run", flags)
    assert ended.value.code == 2 and problem in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("--transcripts={folder}/nothing", "nothing"),
        ("--transcripts={folder}", "holds no file named"),
        ("--recognizer=faster-whisper:{folder}", "pip install faster-whisper"),
    ],
)
def test_speech_that_is_not_there_is_refused(
    corpus: Path,
    tmp_path: Path,
    flag: str,
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert start(corpus, tmp_path / "run", [flag]) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
