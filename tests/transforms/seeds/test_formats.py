from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipseed.elements import SeedRow
from clipseed.errors import DeadLetter, InputError
from tests.support.paths import DATA
from transforms.seeds.formats import (
    EmbeddingInfo,
    SeedsConfig,
    SeedsFormat,
    list_seed_files,
    read_seeds,
    seed_embedding_info,
    seeds_format,
)

needs_data = pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")


def write(path: Path, data: str | bytes) -> str:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def seeds_and_rejected(
    uri: str, config: SeedsConfig | None = None
) -> tuple[list[SeedRow], list[DeadLetter]]:
    items = list(read_seeds(uri, config or SeedsConfig()))
    assert all(x.stage == "read_seeds" for x in items if isinstance(x, DeadLetter))
    return (
        [item for item in items if isinstance(item, SeedRow)],
        [item for item in items if isinstance(item, DeadLetter)],
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
    with pytest.raises(InputError) as caught:
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
    uri = write(tmp_path / "t.csv", text)
    seeds, _ = seeds_and_rejected(uri, SeedsConfig(allow_outside=True))
    assert seeds == [
        SeedRow("img/a.jpg", str(tmp_path / "img/a.jpg"), 'one,\ntwo\t"x"'),
        SeedRow("/abs/b.jpg", "/abs/b.jpg", "b"),
        SeedRow("gs://b/c.jpg", "gs://b/c.jpg", "c"),
    ]


def test_a_table_cannot_name_local_files_outside_its_folder(tmp_path: Path) -> None:
    folder, secret = tmp_path / "seeds", tmp_path / "secret.txt"
    (folder / "img").mkdir(parents=True)
    secret.write_text("hush")
    (folder / "out.jpg").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    (folder / "in.jpg").symlink_to(folder / "img" / "a.jpg")
    inside = ["img/a.jpg", "img/../b.jpg", str(folder / "c.jpg"), "in.jpg"]
    remote = ["https://x.org/1.jpg", "gs://b/1.jpg"]
    outside = ["/etc/passwd", "/dev/stdin", "../secret.txt", "out.jpg", "up/secret.txt"]
    outside += [f"{folder}2/a.jpg", "."]
    rows = [f"{name},c" for name in inside + remote + outside]
    for name, text in (
        ("t.csv", "\n".join(["image,caption", *rows])),
        ("t.tsv", "\n".join(rows).replace(",", "\t")),
    ):
        uri = write(folder / name, text)
        form: SeedsFormat = "table" if name == "t.csv" else "cc12m"
        seeds, rejected = seeds_and_rejected(uri, SeedsConfig(form))
        assert [seed.reference for seed in seeds] == inside + remote
        found = [item.key for item in rejected if item.reason == "outside_folder"]
        assert found == outside


def test_columns_can_be_named(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.tsv", "url\tcaption\tpic\twords\nu\tc\ta.jpg\thello\n")
    config = SeedsConfig(image_column="pic", caption_column="words")
    (seed,), _ = seeds_and_rejected(uri, config)
    assert (seed.reference, seed.caption) == ("a.jpg", "hello")


def test_a_wrong_column_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    uri = write(tmp_path / "t.csv", "image,descr\na.jpg,hello\n")
    with pytest.raises(InputError) as caught:
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
    with pytest.raises(InputError) as caught:
        list_seed_files(str(tmp_path))
    assert caught.value.reason == "no_seeds"
    with pytest.raises(InputError) as caught:
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
