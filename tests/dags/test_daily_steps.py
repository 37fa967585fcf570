"""The steps as commands: a result, or a status that a scheduler can act on."""

import json
from pathlib import Path
from typing import Any

import pytest
from daily_steps import main
from published import read_published, write_published
from training import training_of, write_trained

from tests.support.daily.made_published import published_run, write_run
from tests.support.daily.made_uploads import write_corpus

OK, AGAIN, REFUSED, NOTHING = 0, 1, 2, 99
DAY = "--day=2026-01-01"


class Steps:
    """Runs steps on one folder, and keeps what they print."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys

    def __call__(self, name: str, *flags: str) -> tuple[int, str]:
        """Return the status and the last line."""
        status = main([name, f"--output={self.root}", *flags])
        return status, self._capsys.readouterr().out.splitlines()[-1]

    def result(self, name: str, *flags: str) -> Any:
        status, last = self(name, *flags)
        assert status == OK, last
        return json.loads(last)


@pytest.fixture
def steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Steps:
    return Steps(tmp_path / "mined", capsys)


@pytest.fixture
def corpus(tmp_path: Path) -> list[str]:
    return [f"--videos={write_corpus(tmp_path / 'corpus.csv')}", "--seeds=/seeds.csv"]


# --- list ----------------------------------------------------------------------------


def test_a_day_gives_the_flags_to_mine_it_with(steps: Steps, corpus: list[str]) -> None:
    flags = ['--mine_flags={"num_shards": 2, "output": "elsewhere"}']
    manifest = steps.root / "manifests" / "2026-01-01.csv"
    assert steps.result("list", DAY, *corpus, *flags) == {
        "num_shards": 2,
        "seeds": "/seeds.csv",
        "videos": str(manifest),
        "output": str(steps.root / "runs/2026-01-01/a"),
        "as_of": "2026-01-02",
        "min_age_days": 0,
    }
    assert len(manifest.read_text().splitlines()) == 4
    first = manifest.read_bytes()
    steps.result("list", DAY, *corpus)
    assert manifest.read_bytes() == first


def test_uploads_can_wait_to_come_of_age(steps: Steps, corpus: list[str]) -> None:
    flags = steps.result("list", "--day=2026-04-01", "--delay_days=90", *corpus)
    assert flags["output"].endswith("runs/2026-04-01/a")
    assert (flags["as_of"], flags["min_age_days"]) == ("2026-04-02", 90)


def test_a_day_without_uploads_is_skipped(steps: Steps, corpus: list[str]) -> None:
    status, why = steps("list", "--day=2025-12-31", *corpus)
    assert status == NOTHING and "no upload for 2025-12-31" in why
    assert not steps.root.exists()


def test_a_published_day_that_lost_its_uploads_is_not_passed_over(
    steps: Steps, corpus: list[str]
) -> None:
    runs = [published_run("2025-12-31"), published_run("2026-01-01")]
    write_published(str(steps.root), runs)
    status, why = steps("list", "--day=2025-12-31", *corpus)
    assert status == REFUSED and "daily_steps.py retract" in why
    assert steps.result("retract", "--day=2025-12-31") == {"taken_back": 1}
    assert read_published(str(steps.root)) == runs[1:]
    assert steps.result("retract", "--day=2025-12-31") == {"taken_back": 0}
    assert steps("list", "--day=2025-12-31", *corpus)[0] == NOTHING


@pytest.mark.parametrize(
    ("place", "problem"),
    [("", "the parameter videos is empty"), ("corpus.csv", "give a whole path")],
)
def test_places_have_to_be_given_whole(steps: Steps, place: str, problem: str) -> None:
    status, why = steps("list", DAY, "--seeds=/s.csv", f"--videos={place}")
    assert status == REFUSED and problem in why


def test_a_manifest_that_is_not_there_yet_is_asked_for_again(steps: Steps) -> None:
    status, why = steps("list", DAY, "--seeds=/s.csv", "--videos=/none/corpus.csv")
    assert status == AGAIN and "/none/corpus.csv" in why


# --- check, publish ------------------------------------------------------------------


def test_a_fit_run_is_published(steps: Steps) -> None:
    run = f"--run={write_run(steps.root / 'runs/2026-01-01/a')}"
    assert steps.result("check", DAY, run) == {"matches": 100, "frames": 1000}
    published = steps.result("publish", DAY, run)
    assert published == {"run": "runs/2026-01-01/a", "pairs": 12}
    before = (steps.root / "latest.json").read_bytes()
    again = f"--run={write_run(steps.root / 'runs/2026-01-01/b')}"
    assert steps.result("publish", DAY, again) == published
    assert (steps.root / "latest.json").read_bytes() == before
    assert not (steps.root / "runs/2026-01-01/b").exists()


def test_a_damaged_run_is_refused(steps: Steps) -> None:
    run = write_run(steps.root / "runs/2026-01-01/a")
    Path(run, "pairs.csv").write_text('"a.mp4",0,10,"y"\n')
    status, why = steps("check", DAY, f"--run={run}")
    assert status == REFUSED and "another checksum" in why


def test_a_run_far_behind_is_refused(steps: Steps) -> None:
    write_published(str(steps.root), [published_run("2025-12-31")])
    run = write_run(steps.root / "runs/2026-01-01/a", above=10)
    status, why = steps("check", DAY, f"--run={run}")
    assert status == REFUSED and why.startswith("not published: match rate: 10 matches")
    assert steps("check", DAY, f"--run={run}", "--min_match_rate=0.1")[0] == OK


def test_an_unfinished_run_is_asked_for_again(steps: Steps) -> None:
    status, why = steps("check", DAY, f"--run={steps.root / 'runs/2026-01-01/a'}")
    assert status == AGAIN and "not a finished run" in why


# --- train ---------------------------------------------------------------------------


def train(steps: Steps, *flags: str) -> tuple[int, str]:
    return steps("train", "--config=tiny", "--min_new_pairs=20", *flags)


def test_too_few_new_pairs_start_no_training(steps: Steps) -> None:
    assert train(steps) == (NOTHING, "0 new pairs; 20 are asked for")
    first, second = published_run("2026-01-01"), published_run("2026-01-02", pairs=19)
    write_published(str(steps.root), [first])
    assert train(steps) == (NOTHING, "12 new pairs; 20 are asked for")
    write_published(str(steps.root), [first, second])
    write_trained(str(steps.root / "models"), training_of([first], ["tiny"]))
    assert train(steps) == (NOTHING, "19 new pairs; 20 are asked for")


def test_enough_new_pairs_start_a_training(steps: Steps) -> None:
    runs = [published_run(f"2026-01-0{day}") for day in (1, 2)]
    write_published(str(steps.root), runs)
    status, why = train(steps)
    # It starts, and the runs are not there.
    assert status == REFUSED and "`clipseed train` ended with 2" in why
    assert not (steps.root / "models" / "trained.json").exists()


def test_a_training_needs_a_disk(steps: Steps) -> None:
    write_published(str(steps.root), [published_run("2026-01-01", pairs=20)])
    status, why = train(steps, "--models=gs://bucket/models")
    assert status == REFUSED and "set the parameter models" in why
