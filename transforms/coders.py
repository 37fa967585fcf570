"""How elements that are shuffled are encoded: by schema, never by pickling."""

from apache_beam import coders

from clipseed.elements import Match, Seed, SeedRow, Span, Video
from clipseed.errors import Rejected
from transforms.seeds.load_images import SeedBatch

for _element in (Match, Rejected, Seed, SeedBatch, SeedRow, Span, Video):
    coders.registry.register_coder(_element, coders.RowCoder)
