"""Coders of the elements that are shuffled: by schema, never by pickling."""

from apache_beam import coders

from clipseed.elements import ClipCaption, Match, Pair, Seed, SeedRow, Video, VideoPart
from clipseed.errors import DeadLetter
from clipseed.run.accounting import Counter
from clipseed.run.files import RunFile
from clipseed.run.outcomes import SeedOutcome, VideoOutcome
from transforms.captions.frame_captions import FrameCaption
from transforms.captions.transcripts import Transcript
from transforms.seeds.load_images import SeedBatch
from transforms.seeds.outcomes import SeedTrace

for _element in (
    ClipCaption,
    Counter,
    DeadLetter,
    FrameCaption,
    Match,
    Pair,
    RunFile,
    Seed,
    SeedBatch,
    SeedOutcome,
    SeedRow,
    SeedTrace,
    Transcript,
    Video,
    VideoOutcome,
    VideoPart,
):
    coders.registry.register_coder(_element, coders.RowCoder)
