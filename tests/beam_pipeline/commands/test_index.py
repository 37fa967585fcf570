"""`clipseed index`, from flags to a directory and a table."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline.cli import main
from index_service.search.open_index import open_index
from models.embedders.descriptor import EMBEDDER_ID, describe
from tests.support.paths import DATA
from transforms.media.images import ImageLimits, decode_image, resize_for_embedding

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")


def clustered(count: int, seed: int) -> np.ndarray:
    centers = np.random.default_rng(0).standard_normal((1_000, 16))
    rng = np.random.default_rng(seed)
    rows = centers[rng.integers(0, 1_000, count)]
    return (rows + rng.standard_normal(rows.shape) * 0.4).astype(np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25,000 seeds as npy and as Parquet, and queries."""
    root = tmp_path_factory.mktemp("files")
    rows = clustered(25_000, 1)
    ids = [f"s{row}" for row in range(len(rows))]
    np.save(root / "seeds.npy", rows)
    (root / "ids.txt").write_text("".join(f"{i}\n" for i in ids))
    lists = pa.FixedSizeListArray.from_arrays(rows.ravel(), 16)
    table = pa.table({"id": ids, "embedding": lists})
    table = table.replace_schema_metadata({"embedder": "made"})
    pq.write_table(table, root / "seeds.parquet")
    pq.write_table(table.slice(0, 900), root / "few.parquet")
    np.save(root / "queries.npy", clustered(600, 2))
    return root


def index(*arguments: object) -> int:
    return main(["index", *map(str, arguments)])


def test_from_npy_to_a_table(
    files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "index"
    flags = ["--embeddings", files / "seeds.npy", "--ids", files / "ids.txt"]
    flags += ["--embedder_id", "made", "--threshold", 0.9, "--output", output]
    assert index("build", *flags, "--queries", files / "queries.npy") == 0
    searcher = open_index(str(output), "made", 16)
    assert searcher.manifest.kind == "scann" and len(searcher.ids) == 25_000
    assert searcher.manifest.audit.recall >= 0.99
    assert "25,000 seeds of dimension 16, ScaNN" in capfd.readouterr().out

    assert index("audit", output, "--queries", files / "queries.npy") == 0
    printed = capfd.readouterr().out.splitlines()
    row = re.compile(r"(.*\S)  +([01]\.\d{4})  +([\d,]+)  +(\d+\.\d\d)")
    rows = [found.groups() for line in printed if (found := row.fullmatch(line))]
    assert rows[0][0] == "exact" and rows[0][1] == "1.0000" and rows[0][3] == "1.00"
    assert rows[1][0].endswith("*") and float(rows[1][1]) >= 0.99
    assert len(rows) > 10 and len({name for name, *_ in rows}) == len(rows)

    # The recall of the table, counted again.
    queries, seeds = (unit(np.load(files / f"{n}.npy")) for n in ("queries", "seeds"))
    true = int((queries.astype(np.float64) @ seeds.T.astype(np.float64) > 0.9).sum())
    found = searcher.pairs_above(queries.astype(np.float32), 0.9)
    assert float(rows[1][1]) == pytest.approx(len(found.similarity) / true, abs=2e-4)


def test_shards_and_bfloat16(
    files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "index"
    flags = ["--embeddings", files / "few.parquet", "--threshold", 0.9]
    flags += ["--shards", 3, "--vectors", "bfloat16", "--target_recall", 0.9]
    assert index("build", *flags, "--output", output) == 0
    assert sorted(path.name for path in output.iterdir()) == [
        f"shard-0000{shard}-of-00003" for shard in range(3)
    ]
    assert len(capfd.readouterr().out.splitlines()) == 3
    assert open_index(str(output), "made").manifest.vectors == "bfloat16"
    assert index("audit", output, "--queries", files / "queries.npy") == 0
    assert "stored bfloat16 vectors" in capfd.readouterr().out


def test_into_a_bucket(
    files: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    uri = f"{bucket}/{tmp_path.name}/index"
    flags = ["--embeddings", files / "few.parquet", "--threshold", 0.9]
    assert index("build", *flags, "--shards", 2, "--output", uri) == 0
    assert len(open_index(uri, "made", 16).ids) == 900
    assert index("build", *flags, "--shards", 2, "--output", uri) == 2


@needs_data
def test_from_seed_images(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = sorted(path.name for path in (DATA / "images").iterdir())[:6]
    seeds = tmp_path / "seeds.csv"
    lines = [f"{DATA / 'images' / name},a picture\n" for name in [*names, "gone.jpg"]]
    seeds.write_text("image,caption\n" + "".join(lines))
    output = tmp_path / "index"
    flags = ["--seeds", seeds, "--embedder", "descriptor", "--output", output]
    assert index("build", *flags, "--allow_outside") == 0
    searcher = open_index(str(output), EMBEDDER_ID)
    assert len(searcher.ids) == 6 and searcher.manifest.threshold == 0.6
    images = [
        resize_for_embedding(
            decode_image((DATA / "images" / name).read_bytes(), ImageLimits()), 224
        )
        for name in names
    ]
    matches = searcher.search(describe(np.stack(images)), 1, 0.99)
    assert sorted(matches.ids) == searcher.ids
    assert "dropped 1 seeds: 1 not_found" in capfd.readouterr().err
    (line,) = (tmp_path / "index.rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "not_found"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "index",
        "index.rejected.jsonl",
        "seeds.csv",
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--embeddings {f}/seeds.npy --embedder_id x --threshold 0.5", "has no ids"),
        ("--embeddings {f}/few.parquet", "--threshold"),
        ("--embeddings {f}/few.parquet --threshold 2", "below 1"),
        ("--embeddings {f}/few.parquet --embedder_id o --threshold 0.5", "made and"),
        ("--embeddings {f}/few.parquet --embedder descriptor", "from"),
        ("--embeddings {f}/few.parquet --embedder x:what", "unknown embedder"),
        ("--embeddings {f}/few.parquet --embedder what", "must be descriptor, KIND"),
        ("--embeddings {f}/gone.npy --threshold 0.5", "gone.npy"),
        (
            "--embeddings {f}/few.parquet --threshold 0.5 --memory_limit 1KiB",
            "the limit is 1024",
        ),
        (
            "--embeddings {f}/few.parquet --threshold 0.5 --queries {f}/wide.npy",
            "shape",
        ),
        ("--seeds {f}/gone.csv --embedder descriptor", "gone.csv"),
        ("--seeds {f}/gone.csv", "--embedder"),
    ],
)
def test_bad_input_is_refused_with_a_reason(
    files: Path,
    tmp_path: Path,
    flags: str,
    words: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    np.save(files / "wide.npy", np.ones((3, 17), np.float32))
    output = tmp_path / "index"
    assert index("build", *flags.format(f=files).split(), "--output", output) == 2
    said = capfd.readouterr().err
    assert words in said and "Traceback" not in said
    assert not (output / "manifest.json").exists()


@pytest.mark.parametrize(
    "flags",
    [
        "build --output o",
        "build --embeddings a --seeds b --output o",
        "build --embeddings a --output o --vector bfloat16",
        "build --embeddings a --output o --memory_limit lots",
        "build --embeddings a --output o --shards 0",
        "audit",
        "serve o --port=99999",
        "serve o --metrics_port=-1",
        "serve o --threads 0",
        "serve o --max_batch -1",
        "serve o --drain_s nan",
    ],
)
def test_wrong_flags_are_refused_in_a_line(
    flags: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert index(*flags.split()) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"clipseed index {flags.split()[0]}: ")


def test_audit_refuses_what_is_not_its_own(
    files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "index"
    flags = ["--embeddings", files / "few.parquet", "--threshold", 0.9]
    assert index("build", *flags, "--output", output) == 0
    for name, rows in (("wide", np.ones((3, 17))), ("nan", np.full((3, 16), np.nan))):
        np.save(tmp_path / f"{name}.npy", rows.astype(np.float32))
        assert index("audit", output, "--queries", tmp_path / f"{name}.npy") == 2
    said = capfd.readouterr().err
    assert "17" in said and "not_finite" in said
    assert index("audit", tmp_path, "--queries", files / "queries.npy") == 2


def test_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert index("--help") == 0 and index() == 2 and index("burn") == 2
    captured = capfd.readouterr()
    assert "serve" in captured.out and "unknown command 'burn'" in captured.err
