import contextlib
import csv
import itertools
from datetime import timedelta
from pathlib import Path

import av
import numpy as np
import pytest

from beam_pipeline.demo.corpus import (
    AS_OF,
    FILMS,
    HEIGHT,
    NOT_A_VIDEO,
    RATE,
    WIDTH,
    Film,
    render_corpus,
)
from beam_pipeline.demo.truth import Truth, Verdict, check_pairs, read_truth
from beam_pipeline.demo.world import (
    COLOURS,
    MOTION_PHRASES,
    PERIOD_S,
    PLACE_PHRASES,
    RMS,
    SOUND_PHRASES,
    VERBS,
    Scene,
    caption,
    draw,
    sound,
)
from transforms.elements import Reject

SMALL = (
    Film("whole", (3, 2)),
    Film("mute", (2,), track="none"),
    Film("still", (2,), track="silent"),
    Film("filtered", (2,), seeds=0, views=10),
    Film("broken", (3, 4), seeds=1, breaks_s=5),
)
BALL = Scene("meadow", "ball", "red", "left", "bell")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Truth]]:
    directory = tmp_path_factory.mktemp("corpus")
    return directory, render_corpus(directory, 0, SMALL, absent_seeds=2)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(directory: Path) -> dict[str, bytes]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def pictures(path: Path) -> list[av.VideoFrame]:
    """Frames until the end of the file, or until it breaks."""
    frames: list[av.VideoFrame] = []
    with av.open(str(path)) as container, contextlib.suppress(av.FFmpegError):
        frames.extend(container.decode(video=0))
    return frames


def hear(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        assert container.streams.audio[0].rate == RATE
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate(frames, axis=1)[0]


# --- the world ----------------------------------------------------------------------


def test_a_caption_says_all_five_facts() -> None:
    assert caption(BALL) == (
        "a red ball rolls to the left over a meadow while a bell rings"
    )
    assert caption(Scene("sea", "kite", "orange", "circle", "rain")) == (
        "an orange kite glides in circles over the sea while rain patters"
    )


def test_every_fact_changes_the_caption() -> None:
    captions = {
        caption(Scene(place, object_, colour, motion, sound_))
        for place in PLACE_PHRASES
        for object_ in VERBS
        for colour in COLOURS
        for motion in MOTION_PHRASES
        for sound_ in SOUND_PHRASES
    }
    assert len(captions) == len(PLACE_PHRASES) * 8**4


def test_an_unknown_fact_is_refused() -> None:
    with pytest.raises(ValueError, match="'plaid' is none of red, orange"):
        Scene("meadow", "ball", "plaid", "left", "bell")


@pytest.mark.parametrize("place", PLACE_PHRASES)
def test_a_place_is_textured_and_varies_with_the_seed(place: str) -> None:
    scene = Scene(place, "ball", "red", "left", "bell")
    image = draw(scene, 1.0)
    assert image.dtype == np.uint8
    assert image.shape == (240, 320, 3)
    assert image.std() > 20
    assert np.abs(image.astype(int) - draw(scene, 1.0, seed=1)).mean() > 5


@pytest.mark.parametrize("object_", VERBS)
def test_colour_is_seen_on_every_object(object_: str) -> None:
    red = Scene("moon", object_, "red", "circle", "bell")
    image = draw(red, PERIOD_S / 2).astype(int)
    reddish = (image[..., 0] > 150) & (image[..., 1] < 90) & (image[..., 2] < 90)
    assert 400 < reddish.sum() < 10_000


def reddish_centre(scene: Scene, t_s: float) -> tuple[float, float, int]:
    """The mean x, y of what is red on the grey moon, and its area."""
    image = draw(scene, t_s).astype(int)
    y, x = np.nonzero((image[..., 0] > 150) & (image[..., 1] < 90))
    return float(x.mean()), float(y.mean()), x.size


@pytest.mark.parametrize(
    ("motion", "what", "sign"),
    [
        ("left", 0, -1),
        ("right", 0, 1),
        ("rise", 1, -1),
        ("sink", 1, 1),
        ("closer", 2, 1),
        ("away", 2, -1),
    ],
)
def test_a_motion_goes_where_its_name_says(motion: str, what: int, sign: int) -> None:
    scene = Scene("moon", "star", "red", motion, "bell")
    before, after = reddish_centre(scene, 2.4), reddish_centre(scene, 3.4)
    assert sign * (after[what] - before[what]) > 20


def test_a_still_in_mid_motion_does_not_tell_left_from_right() -> None:
    # Different scenes have different backdrops: compare the object's own pixels.
    for object_ in VERBS:
        centres = [
            reddish_centre(Scene("moon", object_, "red", motion, "bell"), PERIOD_S / 2)
            for motion in ("left", "right")
        ]
        assert centres[0] == pytest.approx(centres[1], rel=0.03)


@pytest.mark.parametrize("voice", SOUND_PHRASES)
def test_a_sound_has_its_energy_and_is_not_clipped(voice: str) -> None:
    scene = Scene("sea", "ball", "red", "left", voice)
    wave = sound(scene, 9 * RATE, RATE)
    assert wave.dtype == np.float32
    assert wave.shape == (9 * RATE,)
    assert np.sqrt(np.mean(np.square(wave))) == pytest.approx(RMS, rel=1e-3)
    assert np.abs(wave).max() < 0.9
    seconds = np.sqrt(np.mean(np.square(wave.reshape(9, RATE)), axis=1))
    assert seconds.min() > RMS / 4  # something is heard in every second


def test_kinds_of_sound_differ_in_spectrum_or_rhythm() -> None:
    waves = [
        sound(Scene("sea", "ball", "red", "left", voice), 4 * RATE, RATE)
        for voice in SOUND_PHRASES
    ]
    # Energy in 20 ms by third-octave-like bands, over time: what an ear tells apart.
    grams = []
    for wave in waves:
        power = np.abs(np.fft.rfft(wave.reshape(200, -1), axis=1)[:, 1:257]) ** 2
        gram = np.log(power.reshape(200, 32, 8).sum(axis=2) + 1e-6).ravel()
        grams.append((gram - gram.mean()) / np.linalg.norm(gram - gram.mean()))
    likeness = np.stack(grams) @ np.stack(grams).T - np.eye(len(grams))
    assert likeness.max() < 0.9


# --- the corpus ---------------------------------------------------------------------


def test_two_renders_are_equal_byte_for_byte(
    corpus: tuple[Path, list[Truth]], tmp_path: Path
) -> None:
    directory, truth = corpus
    assert render_corpus(tmp_path, 0, SMALL, absent_seeds=2) == truth
    assert files(tmp_path) == files(directory)


def test_another_seed_is_another_corpus(
    corpus: tuple[Path, list[Truth]], tmp_path: Path
) -> None:
    other = render_corpus(tmp_path, 1, SMALL[:1], absent_seeds=0)
    assert {each.caption for each in other}.isdisjoint(
        each.caption for each in corpus[1]
    )


def test_the_truth_is_where_the_films_say(corpus: tuple[Path, list[Truth]]) -> None:
    directory, truth = corpus
    assert [(each.video, each.start_us, each.end_us) for each in truth] == [
        ("videos/whole.mp4", 0, 3_000_000),
        ("videos/whole.mp4", 3_000_000, 5_000_000),
        ("videos/mute.mp4", 0, 2_000_000),
        ("videos/still.mp4", 0, 2_000_000),
        ("videos/broken.mp4", 0, 3_000_000),
    ]
    assert read_truth(directory) == truth


def test_seeds_are_listed_with_unique_captions(
    corpus: tuple[Path, list[Truth]],
) -> None:
    directory, truth = corpus
    rows = read_rows(directory / "seeds.csv")
    assert [(row["image"], row["caption"]) for row in rows[:5]] == [
        (each.image, each.caption) for each in truth
    ]
    assert len(rows) == 7
    assert len({row["caption"] for row in rows}) == 7
    for row in rows:
        with av.open(str(directory / row["image"])) as container:
            image = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert image.std() > 20


def test_videos_open_with_the_length_and_tracks_they_should_have(
    corpus: tuple[Path, list[Truth]],
) -> None:
    directory, _ = corpus
    tracks = {"whole": 1, "mute": 0, "still": 1}
    for film in SMALL[:3]:
        frames = pictures(directory / film.path)
        assert len(frames) == 25 * sum(film.scenes_s)
        assert (frames[0].time, frames[0].height, frames[0].width) == (0, 240, 320)
        with av.open(str(directory / film.path)) as container:
            assert len(container.streams.audio) == tracks[film.name]
            assert container.streams.video[0].codec_context.name == "h264"


def test_a_video_sounds_as_its_scenes_do(corpus: tuple[Path, list[Truth]]) -> None:
    directory, _ = corpus
    wave = hear(directory / "videos/whole.mp4")
    assert wave.size == pytest.approx(5 * RATE, abs=2_100)
    assert np.sqrt(np.mean(np.square(wave))) == pytest.approx(RMS, rel=0.1)
    assert np.abs(wave).max() < 0.99
    assert np.abs(hear(directory / "videos/still.mp4")).max() < 1e-4


def test_a_frame_of_the_video_shows_the_scene_at_that_time(
    corpus: tuple[Path, list[Truth]],
) -> None:
    directory, _ = corpus
    frames = pictures(directory / "videos/whole.mp4")
    shown = [frame.to_ndarray(format="rgb24").astype(int) for frame in frames]
    cuts = [np.abs(b - a).mean() for a, b in itertools.pairwise(shown)]
    assert int(np.argmax(cuts)) + 1 == 3 * 25  # the scene changes at 3 s, sharply
    assert cuts[74] > 5 * sorted(cuts)[-2]


def test_the_broken_video_shows_its_first_scene_and_then_breaks(
    corpus: tuple[Path, list[Truth]],
) -> None:
    path = corpus[0] / "videos/broken.mp4"
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert video.frames == 7 * 25  # what its header promises
        packets = [packet for packet in container.demux(video) if packet.size]
    assert packets[-1].is_corrupt  # a picture cut in two
    assert 3 * 25 < len(pictures(path)) <= 5 * 25 + 1


def test_the_text_file_is_no_video(corpus: tuple[Path, list[Truth]]) -> None:
    with pytest.raises(av.FFmpegError):
        av.open(str(corpus[0] / NOT_A_VIDEO))


def test_the_manifest_lists_every_file(corpus: tuple[Path, list[Truth]]) -> None:
    directory, _ = corpus
    rows = read_rows(directory / "videos.csv")
    on_disk = {f"videos/{path.name}" for path in (directory / "videos").iterdir()}
    assert {row["video"] for row in rows} == on_disk
    assert rows[0] == {
        "video": "videos/whole.mp4",
        "view_count": "20000",
        "duration": "5",
        "upload_date": (AS_OF - timedelta(days=400)).isoformat(),
        "safe": "true",
    }


def test_two_films_fail_the_paper_s_filters() -> None:
    ten_years_ago = AS_OF.replace(year=AS_OF.year - 10)
    dropped = [
        film.name
        for film in FILMS
        if film.views <= 1000
        or film.age_days < 90
        or AS_OF - timedelta(days=film.age_days) < ten_years_ago
    ]
    assert dropped == ["golf_few_views", "hotel_too_recent"]


# --- the verdict --------------------------------------------------------------------

TRUTH = [
    Truth("seeds/a.jpg", 'a "red" ball, rolling', "videos/a.mp4", 0, 9_000_000),
    Truth("seeds/b.jpg", "a blue kite", "videos/b.mp4", 9_000_000, 19_000_000),
]
RIGHT = [
    ("videos/a.mp4", 1_000_000, 11_000_000, 'a "red" ball, rolling'),
    ("videos/b.mp4", 18_000_000, 28_000_000, "a blue kite"),
]


def write_pairs(path: Path, rows: list[tuple]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return path


@pytest.mark.parametrize("header", [[], [("video", "start", "end", "caption")]])
def test_right_pairs_are_found(tmp_path: Path, header: list[tuple]) -> None:
    verdict = check_pairs(write_pairs(tmp_path / "pairs.csv", header + RIGHT), TRUTH)
    assert verdict == Verdict(2, 2, [], [])
    assert verdict.ok


@pytest.mark.parametrize(
    "row",
    [
        ("videos/a.mp4", 9_000_000, 19_000_000, "a blue kite"),  # another video
        ("videos/b.mp4", 0, 9_000_000, "a blue kite"),  # before the scene
        ("videos/b.mp4", 19_000_000, 29_000_000, "a blue kite"),  # after it
    ],
)
def test_a_pair_elsewhere_finds_nothing(tmp_path: Path, row: tuple) -> None:
    verdict = check_pairs(write_pairs(tmp_path / "p.csv", [RIGHT[0], row]), TRUTH)
    assert verdict == Verdict(1, 2, [], [row])
    assert not verdict.ok
    beside = check_pairs(write_pairs(tmp_path / "q.csv", [*RIGHT, row]), TRUTH)
    assert beside.elsewhere == [row]
    assert beside.ok


def test_a_caption_of_no_scene_is_wrong(tmp_path: Path) -> None:
    row = ("videos/a.mp4", 0, 10_000_000, "a green robot")
    verdict = check_pairs(write_pairs(tmp_path / "p.csv", [*RIGHT, row]), TRUTH)
    assert verdict == Verdict(2, 2, [row], [])
    assert not verdict.ok


def test_no_pairs_find_nothing(tmp_path: Path) -> None:
    verdict = check_pairs(write_pairs(tmp_path / "p.csv", []), TRUTH)
    assert (verdict.found, verdict.expected, verdict.ok) == (0, 2, False)


@pytest.mark.parametrize("row", [("a.mp4", 1, 2), ("a.mp4", "soon", 2, "x")])
def test_a_row_of_another_layout_is_refused(tmp_path: Path, row: tuple) -> None:
    with pytest.raises(Reject, match="row 3: need video,start,end,caption") as caught:
        check_pairs(write_pairs(tmp_path / "p.csv", [*RIGHT, row]), TRUTH)
    assert caught.value.reason == "bad_pairs_row"
