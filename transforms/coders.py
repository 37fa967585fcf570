"""How elements that are shuffled are encoded: by schema, never by pickling."""

from apache_beam import coders

from clipseed.elements import Match, Seed, SeedRow, Video, VideoPart
from clipseed.errors import DeadLetter
from transforms.seeds.load_images import SeedBatch

for _element in (Match, DeadLetter, Seed, SeedBatch, SeedRow, VideoPart, Video):
    coders.registry.register_coder(_element, coders.RowCoder)
