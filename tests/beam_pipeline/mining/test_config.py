"""Flags of `clipseed mine`: defaults of the paper, clear refusals, and a hash."""

import datetime
from dataclasses import replace

import pytest

from beam_pipeline.mining.config import MineConfig, parse_mine
from clipseed.flags import flags_of

NEEDED = ["--seeds=s.csv", "--videos=v", "--output=o"]
DAY = "--as_of=2025-01-02"


def parse(*flags: str) -> MineConfig:
    config, beam_flags = parse_mine([*NEEDED, *flags])
    assert beam_flags == []
    return config


def test_defaults_are_the_papers() -> None:
    config = parse(DAY)
    assert config == MineConfig(
        seeds="s.csv",
        videos="v",
        output="o",
        seeds_format="auto",
        image_column=None,
        caption_column=None,
        allow_outside=False,
        allow_private=False,
        as_of=datetime.date(2025, 1, 2),
        min_view_count=1000,
        max_duration_s=1200.0,
        max_age_years=10,
        min_age_days=90,
        allow_unsafe=False,
        denylist=None,
        embedder="descriptor",
        index=None,
        index_ca="",
        index_cert="",
        index_key="",
        index_token_file="",
        accelerator="",
        sample_fps=1.0,
        sampling="exact",
        part_s=120.0,
        scratch_gib=16.0,
        keep_embeddings=True,
        reuse_embeddings_from=None,
        video_timeout_s=600.0,
        isolate_decoder=True,
        max_failed_share=0.5,
        threshold=None,
        min_similarity=None,
        top_k=10,
        min_gap_s=None,
        clip_s=10.0,
        clip_fps=25.0,
        require_sound=False,
        num_shards=8,
        overwrite=False,
        merge_with=None,
    )


def test_ages_count_from_today_unless_told() -> None:
    before = datetime.datetime.now(datetime.UTC).date()
    found = parse().as_of
    assert before <= found <= datetime.datetime.now(datetime.UTC).date()


def test_each_filter_can_be_turned_off() -> None:
    names = ("min_view_count", "max_duration_s", "max_age_years", "min_age_days")
    config = parse(*(f"--{name}=none" for name in names), "--allow_unsafe")
    assert [getattr(config, name) for name in names] == [None] * 4
    assert config.allow_unsafe is True


def test_the_gap_is_the_clips_length_unless_told() -> None:
    assert parse().gap_us == 10_000_000
    assert parse("--clip_s=2.5").gap_us == 2_500_000
    assert parse("--clip_s=2.5", "--min_gap_s=0").gap_us == 0


NUMBER = "must be a number above 0"
COUNT = "must be a whole number of at least 1"
COSINE = "must be a number of at least -1 and below 1"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        *((f"--{name}=0", f"--{name} 0: {NUMBER}")
          for name in ("sample_fps", "clip_s", "clip_fps", "part_s", "scratch_gib")),
        *((f"--{name}=0", f"--{name} 0: {COUNT}") for name in ("top_k", "num_shards")),
        ("--sample_fps=-1", f"--sample_fps -1: {NUMBER}"),
        ("--sample_fps=nan", f"--sample_fps nan: {NUMBER}"),
        ("--threshold=1", f"--threshold 1: {COSINE}"),
        ("--threshold=nan", f"--threshold nan: {COSINE}"),
        ("--min_similarity=-1.1", f"--min_similarity -1.1: {COSINE}"),
        ("--min_similarity=0.7 --threshold=0.6",
         "--min_similarity 0.7: must not be above --threshold 0.6"),
        ("--clip_s=inf", f"--clip_s inf: {NUMBER}"),
        ("--min_gap_s=nan", "--min_gap_s nan: must be a number of at least 0"),
        ("--min_gap_s=-1", "--min_gap_s -1: must be a number of at least 0"),
        ("--video_timeout_s=0", f"--video_timeout_s 0: {NUMBER}"),
        ("--threshhold=0.7", "unknown flag --threshhold; did you mean --threshold?"),
        ("--temp_locatio=x", "unknown flag --temp_locatio; did you mean "
         "--temp_location?"),
        ("--fps=2", "unknown flag --fps; see `clipseed mine --help`"),
        ("--as_of=yesterday", "--as_of yesterday: must be a date such as 2026-01-31"),
        ("--min_age_days=x",
         "--min_age_days x: must be a whole number of at least 0, or none"),
        ("--sampling=all", "--sampling all: must be exact or keyframe"),
        ("--seeds_format=xml", "--seeds_format xml: must be auto, cc3m, cc12m, table "
         "or webdataset"),
        ("--embedder=mobilenet",
         "--embedder mobilenet: must be descriptor, KIND:MODEL such as hub:DIR, or the "
         "path of a directory"),
        ("--merge_with=./o", "--merge_with: must not be --output; the base run stays "
         "as it is"),
        ("--overwrite=maybe", "--overwrite maybe: must be true or false"),
        ("--top_k", "--top_k: expected one argument"),
        ("more", "unexpected argument 'more'"),
    ],
)  # fmt: skip
def test_wrong_flags_are_refused_in_one_line(
    flags: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_mine([*NEEDED, *flags.split()])
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", f"clipseed mine: {problem}\n")


@pytest.mark.parametrize("missing", NEEDED)
def test_what_is_needed_is_asked_for(
    missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_mine([flag for flag in NEEDED if flag != missing])
    assert caught.value.code == 2
    name = missing.split("=")[0]
    problem = f"clipseed mine: {name}: required; see `clipseed mine --help`\n"
    assert capsys.readouterr().err == problem


def test_switches_may_have_the_values_that_a_template_gives() -> None:
    on, off = (parse(DAY, f"--overwrite={value}") for value in ("true", "False"))
    assert (on, off) == (parse(DAY, "--overwrite"), parse(DAY))
    inside = parse(DAY, "--isolate_decoder=false")
    assert inside == parse(DAY, "--no_isolate_decoder") != parse(DAY)


def test_beams_own_flags_are_left_over() -> None:
    beam_flags = [
        "--runner=FnApiRunner",
        "--direct_num_workers=2",
        "--job_name=mine",
        "--labels=airflow-version=v3",
        "--temp_location=gs://bucket/tmp",
    ]
    config, left = parse_mine([*NEEDED, DAY, *beam_flags, "--top_k=3"])
    assert left == beam_flags
    assert config == replace(parse(DAY), top_k=3)


def test_other_runners_know_flags_that_are_not_known_here() -> None:
    flags = ["--runner=FlinkRunner", "--checkpointing_mode=EXACTLY_ONCE", "--odd=1"]
    assert parse_mine([*NEEDED, *flags])[1] == flags


# --- the hash ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flag",
    [
        "--output=other",
        "--overwrite",
        "--accelerator=type:nvidia-l4;count:1",
        "--no_isolate_decoder",
        "--video_timeout_s=60",
        "--max_failed_share=1",
    ],
)
def test_what_does_not_change_the_result_is_not_in_the_hash(flag: str) -> None:
    changed = parse(DAY, flag)
    assert changed != parse(DAY)
    assert changed.hash() == parse(DAY).hash()


@pytest.mark.parametrize(
    "flag",
    ["--seeds=t.csv", "--as_of=2025-01-03", "--threshold=0.6", "--top_k=9",
     "--embedder=hub:x", "--clip_fps=24", "--num_shards=4", "--max_duration_s=none"],
)  # fmt: skip
def test_what_changes_the_result_is_in_the_hash(flag: str) -> None:
    assert parse(DAY, flag).hash() != parse(DAY).hash()


def test_the_settings_are_json_by_the_flags_names() -> None:
    kept = parse(DAY, "--top_k=3").as_json()
    assert (kept["as_of"], kept["top_k"], kept["min_gap_s"]) == ("2025-01-02", 3, None)
    assert set(kept) == {flag.name for flag in flags_of(MineConfig)}
    assert len(parse(DAY).hash()) == 16
