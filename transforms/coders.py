"""Coders of the elements that are shuffled: by schema, never by pickling.

An element must have fields alone: on clusters its coder makes a class of its own from
the schema, without the methods and properties of ours.
"""

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

ELEMENTS = (
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
)
for _element in ELEMENTS:
    coders.registry.register_coder(_element, coders.RowCoder)
