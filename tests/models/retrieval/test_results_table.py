"""Figures as tables, beside the paper's."""

import json

import pytest

from clipseed.errors import InputError
from models.captioning.evaluation import results_table as captions_table
from models.retrieval.metrics import Retrieval
from models.retrieval.results_table import PAPER, as_json, as_markdown
from transforms.benchmarks.registry import PROTOCOLS

FIGURES = {"text_to_clip": Retrieval((12.34, 50.0, 100.0), 5.5, 7.25, 60, 12)}
OWN = "| text to clip | 12.3 | 50.0 | 100.0 | 5.5 | 7.2 | 60 | 12 |"


def test_measured_rows_stand_above_the_papers() -> None:
    head, line, *rows = as_markdown(FIGURES).splitlines()
    assert head == (
        "| | R@1 | R@5 | R@10 | median | mean | queries | candidates |"
    )  # fmt: skip
    assert line == "|---" * 8 + "|" and rows == [OWN]
    rows = as_markdown(FIGURES, "msr_vtt").splitlines()[2:]
    assert rows[0] == OWN and rows[7] == (
        "| paper, MSR-VTT 1k-A: VideoCC3M, A+V, zero-shot | 20.4 | 39.5 | 50.3 "
        "| | | 1000 | 1000 |"
    )


@pytest.mark.parametrize("protocol", PAPER)
def test_every_protocol_has_its_rows(protocol: str) -> None:
    lines = as_markdown({}, protocol).splitlines()
    assert {line.count("|") for line in lines} == {9}
    assert len(lines) == 2 + len(PAPER[protocol].rows)


def test_no_protocol_is_forgotten() -> None:
    assert set(PROTOCOLS) == {*PAPER, *captions_table.PAPER}


def test_json_holds_what_the_table_shows() -> None:
    content = json.loads(as_json(FIGURES, "audiocaps"))
    assert content["text_to_clip"] == {
        "recall": [12.34, 50.0, 100.0],
        "median_rank": 5.5,
        "mean_rank": 7.25,
        "queries": 60,
        "candidates": 12,
    }
    assert content["paper"]["VideoCC3M, A, zero-shot"] == {"recall": [8.7, None, 37.7]}
    assert set(json.loads(as_json(FIGURES))) == {"text_to_clip"}


def test_an_unknown_protocol_is_refused() -> None:
    for write in (as_markdown, as_json):
        with pytest.raises(InputError, match="msr_vtt, audiocaps, clotho"):
            write(FIGURES, "vatex")
