"""Groups of flags that mining shares with other commands that read seeds or videos."""

import datetime
from typing import Literal

from clipseed.flags import flag, flags
from transforms.seeds.formats import SeedsFormat


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


@flags
class VideoFlags:
    """Videos."""

    videos: str = flag(
        "A folder, glob, video file, or manifest (CSV, TSV, JSONL, Parquet)",
        remote=("gs", "http", "https"),
    )


@flags
class OutputFlags:
    """Output."""

    output: str = flag(
        "Run directory, local or gs://", remote=("gs",), decides_result=False
    )
    overwrite: bool = flag(
        "Replace the run that is in the run directory",
        default=False,
        decides_result=False,
    )
    num_shards: int = flag(
        "Number of shards per table and for clips", default=8, at_least=1
    )


@flags
class SeedFormatFlags:
    """Format of the seeds."""

    seeds_format: SeedsFormat = flag("Format of --seeds", default="auto")
    image_column: str | None = flag(
        "Column of a table that holds the image",
        default=None,
        default_text="one of its usual names",
    )
    caption_column: str | None = flag(
        "Column of a table that holds the caption",
        default=None,
        default_text="one of its usual names",
    )
    allow_outside: bool = flag(
        "Also read local images outside the folder of the table that names them",
        default=False,
    )


@flags
class SeedFlags(SeedFormatFlags):
    """Seeds."""

    seeds: str = flag(
        "Captioned images: a file, folder or glob of tables (CSV, TSV, JSONL, "
        "Parquet), CC3M/CC12M TSV, or webdataset shards",
        remote=("gs",),
    )


@flags
class FilterFlags:
    """Filters.

    Each applies where the manifest has its column; none turns it off.
    """

    as_of: datetime.date = flag(
        "Date that ages count from",
        default_factory=_today,
        default_text="today, UTC",
    )
    min_view_count: int | None = flag(
        "View count that a video must exceed", default=1000, at_least=0
    )
    max_duration_s: float | None = flag(
        "Duration that a video must stay below", unit="seconds", default=1200.0, above=0
    )
    max_age_years: int | None = flag(
        "Maximum age of a video", unit="years", default=10, at_least=0
    )
    min_age_days: int | None = flag(
        "Minimum age of a video", unit="days", default=90, at_least=0
    )
    allow_unsafe: bool = flag("Keep videos flagged as unsafe", default=False)
    denylist: str | None = flag(
        "File of video ids and URL hosts to leave out, one per line",
        default=None,
        remote=("gs",),
    )


@flags
class DownloadFlags:
    """Downloads."""

    allow_private: bool = flag(
        "Also download from loopback and private addresses", default=False
    )
    scratch_gib: float = flag(
        "Disk space per worker process for copies of remote videos",
        unit="GiB",
        default=16.0,
        above=0,
        decides_result=False,
    )


@flags
class AcceleratorFlags:
    """Accelerator."""

    accelerator: str = flag(
        "Resource hint of the embedding steps, such as "
        "'type:nvidia-l4;count:1;install-nvidia-driver'",
        default="",
        pattern="type:[^;]+(;[^;]+)*",
        expected="a resource hint such as 'type:nvidia-l4;count:1'",
        decides_result=False,
    )


EMBEDDERS = (
    "'descriptor', hub:HANDLE_OR_DIR (a TF-Hub model), onnx:FILE, or hf:ID[@REVISION] "
    "or a directory (a published ViT, CLIP, SigLIP or DINOv2)"
)
EMBEDDER_PATTERN = r"descriptor|[a-z0-9_]+:.+|.*/.*"
EMBEDDER_EXPECTED = "descriptor, KIND:MODEL such as hub:DIR, or the path of a directory"


@flags
class EmbedderFlags(AcceleratorFlags):
    """Embedder."""

    embedder: str = flag(
        f"Image embedder: {EMBEDDERS}",
        default="descriptor",
        pattern=EMBEDDER_PATTERN,
        expected=EMBEDDER_EXPECTED,
    )


@flags
class PartFlags:
    """Decoded frames."""

    sampling: Literal["exact", "keyframe"] = flag(
        "exact: the frame shown at each instant; keyframe: the nearest keyframe, at a "
        "tenth of the cost",
        default="exact",
    )
    part_s: float = flag(
        "Length of the video parts that workers sample",
        unit="seconds",
        default=120.0,
        above=0,
    )


@flags
class SamplingFlags(PartFlags):
    """Frames."""

    sample_fps: float = flag("Frames sampled per second", default=1.0, above=0)


@flags
class DecodingFlags:
    """Decoding."""

    video_timeout_s: float = flag(
        "Time limit for decoding one video or video part",
        unit="seconds",
        default=600.0,
        above=0,
        decides_result=False,
    )
    isolate_decoder: bool = flag(
        "Decode in a child process so that a malformed file cannot crash or hang the "
        "worker",
        default=True,
        decides_result=False,
    )
    max_failed_share: float = flag(
        "Stop when the decoder fails unexpectedly on more than this share of the first "
        "inputs of a worker process, 20 at least: the fault is then not theirs; 1 for "
        "never",
        default=0.5,
        at_least=0,
        at_most=1,
        decides_result=False,
    )


@flags
class EmbeddingCacheFlags:
    """Frame embedding cache."""

    keep_embeddings: bool = flag(
        "Keep frame embeddings in OUTPUT/work for later runs",
        default=True,
        decides_result=False,
    )
    reuse_embeddings_from: str | None = flag(
        "Run directory whose frame embeddings are used instead of decoding, for new "
        "seeds or another threshold",
        default=None,
        remote=("gs",),
        decides_result=False,
    )


@flags
class MatchFlags:
    """Matches."""

    threshold: float | None = flag(
        "Similarity τ above which a frame and a seed match",
        default=None,
        default_text="the embedder's, 0.6",
        at_least=-1,
        below=1,
    )
    min_similarity: float | None = flag(
        "Similarity above which matches are stored in matches/",
        default=None,
        default_text="τ",
        at_least=-1,
        below=1,
    )
    top_k: int = flag("Maximum number of clips per seed", default=10, at_least=1)
    min_gap_s: float | None = flag(
        "Minimum time between a seed's matches in one video",
        unit="seconds",
        default=None,
        default_text="--clip_s; 0: the paper's literal rule",
        at_least=0,
    )

    def __post_init__(self) -> None:
        """Raise ValueError if more would be selected than is stored."""
        stored, selected = self.min_similarity, self.threshold
        if stored is not None and selected is not None and stored > selected:
            raise ValueError(
                f"--min_similarity {stored:g}: must not be above --threshold "
                f"{selected:g}"
            )


@flags
class ExternalIndexFlags:
    """External index."""

    index: str | None = flag(
        "Index of `clipseed index build` to match with instead of building one: a "
        "directory, or grpc://HOST:PORT of its servers (commas between shards, | "
        "between replicas)",
        default=None,
        remote=("gs", "grpc"),
    )
    index_ca: str = flag(
        "PEM file of the authority that signed the servers' certificates; turns TLS on",
        default="",
        metavar="PATH",
        decides_result=False,
    )
    index_cert: str = flag(
        "PEM file of this client's certificate, for mutual TLS",
        default="",
        metavar="PATH",
        decides_result=False,
    )
    index_key: str = flag(
        "PEM file of this client's private key",
        default="",
        metavar="PATH",
        decides_result=False,
    )
    index_token_file: str = flag(
        "File of the token to send to the servers",
        default="",
        metavar="PATH",
        decides_result=False,
    )


@flags
class StoredClipFlags:
    """Stored clips."""

    clip_fps: float = flag("Frames stored per second of a clip", default=25.0, above=0)
    require_sound: bool = flag(
        "Drop clips whose sound is missing, silent or damaged", default=False
    )


@flags
class ClipFlags(StoredClipFlags):
    """Clips."""

    clip_s: float = flag("Length of a clip", unit="seconds", default=10.0, above=0)
