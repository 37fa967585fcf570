import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.elements import Reject, Rejected, SeedRow
from transforms.read_seeds import (
    EmbeddingInfo,
    SeedsConfig,
    SeedsFormat,
    list_seed_files,
    read_seeds,
    seed_embedding_info,
    seeds_format,
)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")


def write(path: Path, data: str | bytes) -> str:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def seeds_and_rejected(
    uri: str, config: SeedsConfig | None = None
) -> tuple[list[SeedRow], list[Rejected]]:
    items = list(read_seeds(uri, config or SeedsConfig()))
    assert all(x.stage == "read_seeds" for x in items if isinstance(x, Rejected))
    return (
        [item for item in items if isinstance(item, SeedRow)],
        [item for item in items if isinstance(item, Rejected)],
    )


# --- CC3M, CC12M ---------------------------------------------------------------------

CC3M = "a dog runs\thttps://a.org/1\na cat .\thttp://a.org/2.jpg?x=1\n"
CC12M = "https://a.org/1\ta dog runs\nhttp://a.org/2.jpg?x=1\ta cat .\n"


@pytest.mark.parametrize(("form", "text"), [("cc3m", CC3M), ("cc12m", CC12M)])
@pytest.mark.parametrize("told", [True, False])
def test_conceptual_captions(
    tmp_path: Path, form: SeedsFormat, text: str, told: bool
) -> None:
    uri = write(tmp_path / "train.tsv", text)
    seeds, rejected = seeds_and_rejected(uri, SeedsConfig(form if told else "auto"))
    assert seeds == [
        SeedRow("https://a.org/1", "https://a.org/1", "a dog runs"),
        SeedRow("http://a.org/2.jpg?x=1", "http://a.org/2.jpg?x=1", "a cat ."),
    ]
    assert rejected == []


def test_captions_with_quotes_stay_byte_for_byte(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.tsv", '"hi" she said\thttp://x/1\n  two  \thttp://x/2\n')
    assert [s.caption for s in seeds_and_rejected(uri)[0]] == [
        '"hi" she said',
        "  two  ",
    ]


def test_bad_rows_of_cc3m_fail_alone(tmp_path: Path) -> None:
    uri = write(
        tmp_path / "t.tsv",
        b"one\thttp://x/1\n \thttp://x/2\nthree\t \n\xff\thttp://x/4\nfive\n"
        b"six\thttp://x/6\n",
    )
    seeds, rejected = seeds_and_rejected(uri)
    assert [seed.caption for seed in seeds] == ["one", "six"]
    assert [(item.key, item.reason) for item in rejected] == [
        ("http://x/2", "empty_caption"),
        (f"{uri}:3", "missing_image"),
        (f"{uri}:4", "not_utf8"),
        (f"{uri}:5", "wrong_cell_count"),
    ]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("image\tcaption\nhttp://x/1\ta\n", "table"),
        ("id\timage\tcaption\n1\thttp://x/1\ta\n", "table"),
        ("pic\twords\nhttp://x/1\ta\nhttp://x/2\tb\n", "table"),
        ("see http://x.org\thttp://x/1\na.jpg\thttp://x/2\nb\thttp://x/3\n", "cc3m"),
        ("img/1.jpg\ta dog\nimg/2.PNG\ta cat\n", "cc12m"),
    ],
)
def test_tsv_formats_are_told_apart(tmp_path: Path, text: str, form: str) -> None:
    assert seeds_format(write(tmp_path / "t.tsv", text)) == form


def test_a_tsv_without_references_needs_its_format_named(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.tsv", "a dog\ta cat\n")
    with pytest.raises(Reject) as caught:
        seeds_format(uri)
    assert caught.value.reason == "unknown_seeds_format"
    assert "--seeds_format" in caught.value.message


# --- tables --------------------------------------------------------------------------


@needs_data
def test_pairs_csv_of_the_shared_data() -> None:
    seeds, rejected = seeds_and_rejected(str(DATA / "pairs.csv"))
    assert rejected == []
    assert seeds[0].reference == "images/vllava_img22.png"
    assert seeds[0].caption == "a black drum kit with cymbals on white background"
    assert all(Path(seed.uri).is_file() for seed in seeds)
    lines = (DATA / "pairs.csv").read_text().splitlines()
    assert len(seeds) == len(lines) - 1


def test_relative_images_lie_beside_their_table(tmp_path: Path) -> None:
    text = 'Path,Text\n img/a.jpg ,"one,\ntwo\t""x"""\n/abs/b.jpg,b\ngs://b/c.jpg,c\n'
    seeds, _ = seeds_and_rejected(write(tmp_path / "t.csv", text))
    assert seeds == [
        SeedRow("img/a.jpg", str(tmp_path / "img/a.jpg"), 'one,\ntwo\t"x"'),
        SeedRow("/abs/b.jpg", "/abs/b.jpg", "b"),
        SeedRow("gs://b/c.jpg", "gs://b/c.jpg", "c"),
    ]


def test_columns_can_be_named(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.tsv", "url\tcaption\tpic\twords\nu\tc\ta.jpg\thello\n")
    config = SeedsConfig(image_column="pic", caption_column="words")
    (seed,), _ = seeds_and_rejected(uri, config)
    assert (seed.reference, seed.caption) == ("a.jpg", "hello")


def test_a_wrong_column_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.csv", "image,descr\na.jpg,hello\n")
    with pytest.raises(Reject) as caught:
        list(read_seeds(uri))
    assert caught.value.reason == "missing_column"
    assert "image, descr" in caught.value.message


def test_jsonl_row_without_an_image(tmp_path: Path) -> None:
    lines = ['{"image":"a.jpg","caption":"a"}', '{"caption":"b"}', '{"image":"c.jpg"}']
    seeds, rejected = seeds_and_rejected(write(tmp_path / "t.jsonl", "\n".join(lines)))
    assert [seed.reference for seed in seeds] == ["a.jpg"]
    assert [item.reason for item in rejected] == ["missing_image", "empty_caption"]


# --- precomputed embeddings ----------------------------------------------------------


def embedded(
    path: Path, vectors: list[list[float] | None], embedders: list[str] | None = None
) -> str:
    columns: dict[str, object] = {
        "image": [f"{i}.jpg" for i in range(len(vectors))],
        "caption": [f"caption {i}" for i in range(len(vectors))],
        "embedding": pa.array(vectors, pa.list_(pa.float32())),
    }
    table = pa.table(columns | ({"embedder": embedders} if embedders else {}))
    pq.write_table(table, path)
    return str(path)


def test_embeddings_come_as_unit_float32(tmp_path: Path) -> None:
    uri = embedded(tmp_path / "t.parquet", [[3, 4], [0, -2]], ["", ""])
    seeds, rejected = seeds_and_rejected(uri)
    assert rejected == []
    got = np.array([np.frombuffer(seed.embedding, np.float32) for seed in seeds])
    np.testing.assert_allclose(got, np.array([[0.6, 0.8], [0, -1]]), rtol=1e-6)
    assert seeds[0].uri == str(tmp_path / "0.jpg")
    assert seed_embedding_info(uri) == EmbeddingInfo(None, 2)


def test_bad_embeddings_fail_alone(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    vectors: list[list[float] | None] = [
        None,
        [1, 0],
        [nan, 0],
        [inf, 0],
        [0, 0],
        [1, 0, 0],
        [0, 1],
    ]
    embedders = ["a", "a", "a", "a", "a", "a", "b"]
    uri = embedded(tmp_path / "t.parquet", vectors, embedders)
    seeds, rejected = seeds_and_rejected(uri)
    assert [seed.reference for seed in seeds] == ["1.jpg"]
    reasons = ["missing_embedding", *["bad_embedding"] * 4, "embedder_mismatch"]
    assert [item.reason for item in rejected] == reasons
    assert [item.key for item in rejected] == [f"{i}.jpg" for i in (0, 2, 3, 4, 5, 6)]
    assert seed_embedding_info(uri) == EmbeddingInfo("a", 2)


def test_embedder_in_the_file_metadata(tmp_path: Path) -> None:
    uri = embedded(tmp_path / "t.parquet", [[1.0] * 5])
    table = pq.read_table(uri).replace_schema_metadata({"embedder": "hub:mobilenet"})
    pq.write_table(table, uri)
    assert seed_embedding_info(uri) == EmbeddingInfo("hub:mobilenet", 5)
    assert len(seeds_and_rejected(uri)[0]) == 1


def test_no_embedding_info_without_embeddings(tmp_path: Path) -> None:
    csv = write(tmp_path / "t.csv", "image,caption,embedding\na.jpg,a,1\n")
    pq.write_table(pa.table({"image": ["a"], "caption": ["b"]}), tmp_path / "t.parquet")
    assert seed_embedding_info(csv) is None
    assert seed_embedding_info(str(tmp_path / "t.parquet")) is None
    assert seeds_and_rejected(csv)[0][0].embedding == b""


# --- webdataset ----------------------------------------------------------------------


def shard(path: Path, members: list[tuple[str, bytes]]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def facts(key: str, status: str = "success", **more: object) -> bytes:
    url = f"https://x.org/{key}"
    return json.dumps({"url": url, "key": key, "status": status, **more}).encode()


def sample(key: str, image: bytes, caption: bytes) -> list[tuple[str, bytes]]:
    return [
        (f"{key}.jpg", image),
        (f"{key}.json", facts(key)),
        (f"{key}.txt", caption),
    ]


def test_a_shard_tells_where_its_images_lie(tmp_path: Path) -> None:
    images = [bytes([i]) * (700 + i) for i in range(3)]
    members = sample("000000001", images[0], b'one\n\ttwo \xe2\x9c\x93 "x"')
    members += [("000000002.png", images[1]), ("000000002.txt", b"second")]
    members += [("000000003.webp", images[2])]
    members += [("000000003.json", facts("000000003", caption="third"))]
    uri = shard(tmp_path / "00000.tar", members)
    seeds, rejected = seeds_and_rejected(uri)
    assert rejected == []
    assert [(seed.reference, seed.caption) for seed in seeds] == [
        ("https://x.org/000000001", 'one\n\ttwo ✓ "x"'),
        ("00000.tar/000000002.png", "second"),
        ("https://x.org/000000003", "third"),
    ]
    blob = Path(uri).read_bytes()
    for seed, image in zip(seeds, images, strict=True):
        start, end = seed.offset_bytes, seed.offset_bytes + seed.size_bytes
        assert seed.uri == uri and blob[start:end] == image


def test_bad_samples_fail_alone(tmp_path: Path) -> None:
    failed = facts("b", "failed_to_download", error_message="404")
    huge = b"x" * ((1 << 20) + 1)
    members = [
        *sample("a", b"A", b"first"),
        ("b.json", failed),
        ("c.jpg", b"C"),
        *sample("d", b"D", b"\xff\xfe"),
        *sample("e", b"E", b" \n"),
        ("f.txt", b"no image"),
        ("g.jpg", b"G"),
        ("g.json", b"{"),
        ("h.jpg", b"H"),
        ("h.json", facts("h", caption="\ud800")),
        ("i.jpg", b"I"),
        ("i.json", facts("i", "Anything at all!")),
        ("j.jpg", b"J"),
        ("j.txt", huge),
        *sample("z", b"Z", b"last"),
    ]
    seeds, rejected = seeds_and_rejected(shard(tmp_path / "s.tar", members))
    assert [seed.caption for seed in seeds] == ["first", "last"]
    assert [(item.key, item.reason) for item in rejected] == [
        ("s.tar/b", "failed_to_download"),
        ("s.tar/c", "missing_caption"),
        ("s.tar/d", "not_utf8"),
        ("https://x.org/e", "empty_caption"),
        ("s.tar/f", "missing_image"),
        ("s.tar/g", "bad_json"),
        ("s.tar/h", "not_utf8"),
        ("s.tar/i", "bad_status"),
        ("s.tar/j", "text_too_long"),
    ]
    assert "404" in rejected[0].message


def test_member_names_that_are_not_utf8_can_be_written_down(tmp_path: Path) -> None:
    uri = shard(tmp_path / "s.tar", [("k\udcff.jpg", b"K"), ("k\udcff.txt", b"hi")])
    (seed,), _ = seeds_and_rejected(uri)
    assert seed.reference == "s.tar/k\\xff.jpg"


def test_links_in_a_shard_are_not_followed(tmp_path: Path) -> None:
    uri = str(tmp_path / "s.tar")
    with tarfile.open(uri, "w") as tar:
        link = tarfile.TarInfo("a.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert seeds_and_rejected(uri) == ([], [])


def ten_samples(path: Path) -> bytes:
    members = [m for i in range(10) for m in sample(f"{i:09d}", b"J" * 2000, b"hello")]
    return Path(shard(path, members)).read_bytes()


def test_a_shard_cut_anywhere_gives_what_came_before(tmp_path: Path) -> None:
    whole = ten_samples(tmp_path / "whole.tar")
    ends = [
        s.offset_bytes
        for s in read_seeds(str(tmp_path / "whole.tar"))
        if isinstance(s, SeedRow)
    ]
    end_mark = whole.rstrip(b"\0").rfind(b"hello") + 512
    for cut in range(0, end_mark, 256):
        uri = write(tmp_path / "cut.tar", whole[:cut])
        seeds, rejected = seeds_and_rejected(uri)
        complete = [start for start in ends if start + 2048 + 4 * 512 <= cut]
        assert len(seeds) >= len(complete)
        assert all(s.offset_bytes + s.size_bytes <= cut for s in seeds)
        assert (rejected[-1].key, rejected[-1].reason) == (uri, "truncated_shard")


def test_a_shard_with_a_corrupt_header_gives_what_came_before(tmp_path: Path) -> None:
    whole = bytearray(ten_samples(tmp_path / "whole.tar"))
    header = whole.index(b"000000004.jpg")
    whole[header : header + 512] = b"\xa5" * 512
    seeds, rejected = seeds_and_rejected(write(tmp_path / "t.tar", bytes(whole)))
    assert len(seeds) == 4
    assert [item.reason for item in rejected] == ["truncated_shard"]


@pytest.mark.parametrize("data", [b"", b"not a tar at all" * 100])
def test_a_file_that_is_no_shard_is_recorded(tmp_path: Path, data: bytes) -> None:
    uri = write(tmp_path / "t.tar", data)
    seeds, (rejected,) = seeds_and_rejected(uri)
    assert seeds == []
    assert (rejected.key, rejected.reason) == (uri, "truncated_shard")


# --- sources of many files -----------------------------------------------------------


def names(seeds: str) -> list[str]:
    return [Path(uri).name for uri in list_seed_files(seeds)]


def test_side_files_of_img2dataset_are_left_out(tmp_path: Path) -> None:
    for number in ("00001", "00000"):
        for end in (".tar", ".parquet", "_stats.json"):
            write(tmp_path / f"{number}{end}", b"")
    assert names(str(tmp_path)) == ["00000.tar", "00001.tar"]
    assert names(f"{tmp_path}/*") == ["00000.tar", "00001.tar"]
    assert names(f"{tmp_path}/*.parquet") == ["00000.parquet", "00001.parquet"]
    assert names(f"{tmp_path}/00001.parquet") == ["00001.parquet"]


def test_tables_of_a_folder_are_read_and_images_are_not(tmp_path: Path) -> None:
    for name in ("b.csv", "a.tsv.gz", "c.jpg", "d.txt"):
        write(tmp_path / name, b"")
    assert names(str(tmp_path)) == ["a.tsv.gz", "b.csv"]
    assert names(f"{tmp_path}/*.txt") == ["d.txt"]


def test_a_folder_without_seeds_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "c.jpg", b"")
    with pytest.raises(Reject) as caught:
        list_seed_files(str(tmp_path))
    assert caught.value.reason == "no_seeds"
    with pytest.raises(Reject) as caught:
        list_seed_files(str(tmp_path / "nowhere"))
    assert caught.value.reason == "not_found"


def test_every_row_is_either_a_seed_or_rejected(tmp_path: Path) -> None:
    rows = ["a.jpg,one", ",two", "c.jpg,", "d.jpg,four,4", '"e.jpg"x,five', "f.jpg,six"]
    uri = write(tmp_path / "t.csv", "\n".join(["image,caption", *rows]))
    seeds, rejected = seeds_and_rejected(uri)
    assert len(seeds) + len(rejected) == len(rows)
    assert Counter(item.reason for item in rejected) == {
        "missing_image": 1,
        "empty_caption": 1,
        "wrong_cell_count": 1,
        "bad_csv": 1,
    }
