"""Where the scenes of the demo's seeds are, and whether mined pairs found them.

verdict = check_pairs(Path("out/pairs.csv"), read_truth(Path("demo")))
    verdict.ok, verdict.found, verdict.expected

A pair is right when it names the seed's video and overlaps the scene in it.
"""

import json
from pathlib import Path
from typing import NamedTuple

from clipseed.run.tables import CsvPair, read_pairs_csv


class Truth(NamedTuple):
    """The scene of a seed, and where it is.

    Attributes:
        image: as `seeds.csv` names it.
        caption: of the seed.
        video: as `videos.csv` names it.
        start_us: of the scene in the video.
        end_us: of the scene, exclusive.
    """

    image: str
    caption: str
    video: str
    start_us: int
    end_us: int


class Verdict(NamedTuple):
    """The result of `check_pairs`.

    Attributes:
        found: number of seeds with a pair in the right video at the right time.
        expected: number of seeds that have a true scene.
        wrong: rows with a caption that no video shows.
        elsewhere: rows of a true seed that miss its scene: weaker look-alikes among
            its ten best, which are reported but are not a failure.
    """

    found: int
    expected: int
    wrong: list[CsvPair]
    elsewhere: list[CsvPair]

    @property
    def ok(self) -> bool:
        """Whether every scene was found and no pair is wrong."""
        return self.found == self.expected and not self.wrong


def write_truth(directory: Path, truth: list[Truth]) -> None:
    """Write `truth.json`."""
    text = json.dumps([each._asdict() for each in truth], indent=1)
    (directory / "truth.json").write_text(text + "\n", encoding="utf-8")


def read_truth(directory: Path) -> list[Truth]:
    """Read what `write_truth` wrote."""
    rows = json.loads((directory / "truth.json").read_text(encoding="utf-8"))
    return [Truth(**row) for row in rows]


def check_pairs(pairs_csv: Path, truth: list[Truth]) -> Verdict:
    """Compare mined pairs with the truth.

    Args:
        pairs_csv: in the VideoCC layout (video, start µs, end µs, caption), with or
            without a header; videos as in `videos.csv`.
        truth: of the corpus that was mined.

    Raises:
        InputError: `bad_pairs_row`, a row that is not in that layout.
    """
    scenes = {each.caption: each for each in truth}
    found: set[str] = set()
    wrong, elsewhere = [], []
    for row in read_pairs_csv(str(pairs_csv)):
        video, start_us, end_us, said = row
        scene = scenes.get(said)
        if scene is None:
            wrong.append(row)
        elif (
            video == scene.video and start_us < scene.end_us and end_us > scene.start_us
        ):
            found.add(said)
        else:
            elsewhere.append(row)
    return Verdict(len(found), len(truth), wrong, elsewhere)
