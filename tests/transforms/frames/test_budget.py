"""One budget of time and bytes for a video over all its parts."""

from pathlib import Path

from transforms.frames import budget
from transforms.frames.budget import VideoBudget, most_bytes

MIB = 1 << 20


def test_what_parts_take_beyond_their_length_is_taken_off_the_limit() -> None:
    """A limit of 600 s, in parts of 120 s."""
    spent = VideoBudget(600.0, 120.0)
    assert spent.limit_s("slow") == 600
    spent.spend("slow", 100, 0)
    assert spent.limit_s("slow") == 600
    spent.spend("slow", 320, 0)
    spent.spend("slow", 420, 0)
    assert spent.limit_s("slow") == 600 - 200 - 300 + 120
    spent.spend("slow", 600, 0)
    assert spent.limit_s("slow") == 120
    assert spent.limit_s("other") == 600


def test_each_part_may_read_the_file_and_leaves_the_rest_to_others(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(MIB))
    spent = VideoBudget(600.0, 120.0)
    first = spent.max_bytes("a", str(path))
    assert first == (16 + 8 + 2) * MIB == most_bytes(str(path), 1)
    spent.spend("a", 1, MIB)
    assert spent.max_bytes("a", str(path)) == first + 2 * MIB - MIB
    spent.spend("a", 1, 10**9)
    assert spent.max_bytes("a", str(path)) == 0
    assert spent.max_bytes("b", str(path)) == first


def test_videos_that_are_done_are_forgotten() -> None:
    spent = VideoBudget(600.0, 120.0)
    for number in range(budget._REMEMBERED + 5):
        spent.spend(str(number), 700, 0)
    assert len(spent._videos) == budget._REMEMBERED
    assert spent.limit_s("0") == 600 and spent.limit_s("9") < 600
