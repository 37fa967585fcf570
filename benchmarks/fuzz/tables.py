"""Small good tables and tar shards of captioned images, to be damaged."""

import csv
import gzip
import io
import json
import tarfile
from collections.abc import Sequence

from benchmarks.fuzz.sources import Source

_CAPTIONS = ('a "quoted" cat, asleep', "ünïcödé — 漢字", "two\nlines", "plain")
# Images of other formats are none to readers of shards.
_IN_SHARDS = (".jpeg", ".png", ".webp")


def make_tables(name: str) -> list[Source]:
    """Make a table of each format that seeds come in.

    Args:
        name: their images' names begin with it, so that each row can be told.
    """
    rows = [
        {"image": f"{name}_{number}.png", "caption": caption}
        for number, caption in enumerate(_CAPTIONS * 3)
    ]
    comma = _csv(rows, ",")
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return [
        Source(f"{name}.csv", comma),
        Source(f"{name}.tsv", _csv(rows, "\t")),
        Source(f"{name}.jsonl", lines),
        Source(f"{name}.csv.gz", gzip.compress(comma, mtime=0)),
        Source(f"{name}.parquet", _parquet(rows)),
    ]


def make_shard(name: str, images: Sequence[Source]) -> Source:
    """Make a webdataset shard of images, with captions and facts beside them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        usual = [image for image in images if image.name.endswith(_IN_SHARDS)]
        for number, (caption, image) in enumerate(zip(_CAPTIONS, usual, strict=False)):
            key, suffix = f"{name}_{number}", image.name.rpartition(".")[2]
            facts = json.dumps({"url": "", "caption": caption, "status": "success"})
            for end, data in (
                (suffix, image.data),
                ("txt", caption.encode()),
                ("json", facts.encode()),
            ):
                member = tarfile.TarInfo(f"{key}.{end}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return Source(f"{name}.tar", buffer.getvalue())


def _csv(rows: Sequence[dict[str, str]], delimiter: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: Sequence[dict[str, str]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), buffer)
    return buffer.getvalue()
