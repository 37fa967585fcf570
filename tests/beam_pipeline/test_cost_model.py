"""What a corpus would cost: sums by hand, laws of growth, and the command."""

import io

import pytest
from rich.console import Console

from beam_pipeline.cli import main
from beam_pipeline.commands.estimate_cost import assumptions_block, size
from beam_pipeline.cost_model import Assumptions, Corpus, estimate, queries_s
from benchmarks.mining.stages import element_bytes
from clipseed.flags import flags_of

EASY = Assumptions(
    sample_fps=2.0, exact_decode_s=36.0, keyframe_decode_s=3.6, embed_s=0.01,
    gpu_frames_s=100.0, dimension=128.0, exact_queries_s=10.0, scann_queries_s=100.0,
    seed_s=1.0, matches_per_seed=5.0, clips_per_seed=2.0, cut_s=0.5,
    clip_bytes=7.0, match_bytes=10.0,
    part_bytes=3.0, seed_bytes=4.0, part_s=60.0, overhead=1.5, worker_bytes=1000.0,
)  # fmt: skip
CORPUS = Corpus(videos=10, hours=5, seeds=250_000)  # 36,000 frames


def test_the_sums_are_those_done_by_hand() -> None:
    costs = estimate(CORPUS, EASY)
    seconds = {"read seeds": 250_000, "decode": 180, "embed": 2860, "match": 360,
               "cut": 250_000}  # fmt: skip
    seconds["runner"] = sum(seconds.values()) / 2
    assert costs.core_hours == pytest.approx({k: s / 3600 for k, s in seconds.items()})
    assert costs.gpu_hours == 0
    assert costs.shuffle_bytes == {
        "parts": (10 + 300) * 3, "seeds": 2 * 250_000 * 4,
        "matches": 2 * 1_250_000 * 10, "clips' places": 2 * 500_000 * 14,
    }  # fmt: skip
    assert costs.worker_bytes == 1000 + 2 * 250_000 * 512
    assert costs.stored_bytes == {"clips": 3.5e6, "frame embedding cache": 36_000 * 512}


def test_keyframes_cost_less_to_decode_and_nothing_else_changes() -> None:
    exact = estimate(CORPUS, EASY).core_hours
    keyframe = estimate(CORPUS, EASY, sampling="keyframe").core_hours
    assert keyframe["decode"] == pytest.approx(exact["decode"] / 10)
    assert {k for k in exact if exact[k] != keyframe[k]} == {"decode", "runner"}


def test_frames_travel_only_to_gpus_of_workers_of_their_own() -> None:
    cores, own, all_of_them = (
        estimate(CORPUS, EASY, gpu=gpu) for gpu in ("none", "embedding", "all")
    )
    assert own.gpu_hours == all_of_them.gpu_hours == pytest.approx(286_000 / 360_000)
    assert own.core_hours["embed"] == all_of_them.core_hours["embed"] == 0
    assert own.shuffle_bytes["frames"] == 286_000 * 224 * 224 * 3
    assert cores.shuffle_bytes == all_of_them.shuffle_bytes


def test_matching_slows_with_seeds_and_dimension() -> None:
    wide = Assumptions(dimension=256.0, exact_queries_s=10.0, scann_queries_s=100.0)
    assert queries_s(250_000, EASY) == 100
    assert queries_s(1_000_000, EASY) == 50  # twice as many leaves to look at
    assert queries_s(250_000, wide) == 50
    assert queries_s(10_000, EASY) == 250  # exact search
    assert queries_s(0, EASY) > 0


def test_what_is_shuffled_is_as_large_as_assumed() -> None:
    usual = Assumptions()
    for name, count in element_bytes().items():
        assert getattr(usual, name) == pytest.approx(count, rel=0.1), name


def plan(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    needed = ["--videos=150e6", "--hours=12.5e6", "--seeds=1.25e6"]
    assert main(["estimate-cost", *needed, *flags]) == 0
    return capsys.readouterr().out


def test_the_papers_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    said = plan(capsys)
    assert said.startswith("150,000,000 videos, 12,500,000 hours, 1,250,000 seeds;")
    for name in ("core hours", "GPU hours", "shuffled", "memory a worker"):
        assert f"\n{name} " in said
    assert all(f"  --{field.name} " in said for field in flags_of(Assumptions))


@pytest.mark.parametrize("name", [field.name for field in flags_of(Assumptions)])
def test_each_assumption_can_be_given(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = plan(capsys, f"--{name}=12345")
    (line,) = (line for line in said.splitlines() if line.startswith(f"  --{name} "))
    assert "12345" in line and line.endswith("[as given]")
    if name not in ("keyframe_decode_s", "gpu_frames_s", "exact_queries_s"):
        assert said.partition("assumptions")[0] != plan(capsys).partition("assump")[0]


def test_a_terminal_shows_the_assumptions_as_a_table() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(assumptions_block(Assumptions(part_s=7.0)).drawn)
    text = console.export_text()
    assert all(f" --{flag.name} " in text for flag in flags_of(Assumptions))
    (row,) = (line for line in text.splitlines() if "--part_s " in line)
    assert " 7 " in row and "as given" in row


@pytest.mark.parametrize("flag", ["--embed_s=0", "--sample_fps=nan", "--seeds=-1"])
def test_what_is_no_figure_is_refused(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = ["--videos=1", "--hours=1", "--seeds=1"]
    assert main(["estimate-cost", *needed, flag]) == 2
    name, value = flag.split("=")
    said = capsys.readouterr().err
    assert said.startswith(f"clipseed estimate-cost: {name} {value}: must be a number")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1e3, "1 kB"), (1.3e9, "1.3 GB"), (2e22, "2e+04 EB")],
)
def test_sizes_are_shown_in_a_unit_that_suits(count: float, text: str) -> None:
    assert size(count) == text
