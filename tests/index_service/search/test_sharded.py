"""Shards of an index answer as one index, and are refused when they do not belong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from clipseed.errors import InputError
from clipseed.hashing import shard_of
from index_service.build.build_index import IndexConfig, build_index, build_shards
from index_service.search.matches import merge_matches
from index_service.search.open_index import Index, open_index
from index_service.search.searcher import load_index
from index_service.search.sharded import ShardedSearcher
from index_service.store import index_directory
from index_service.store.shards import split
from transforms.seeds.build_index import upload_directory

COUNT, DIMENSION, SHARDS = 1_500, 24, 3
CONFIGS = {
    "exact": IndexConfig(),
    "scann": IndexConfig(exact_below=0, tree_from=0, sample_size=200),
}


def clustered(count: int, seed: int) -> np.ndarray:
    centers = np.random.default_rng(0).standard_normal((100, DIMENSION))
    rng = np.random.default_rng(seed)
    rows = centers[rng.integers(0, 100, count)]
    rows = rows + rng.standard_normal(rows.shape) * 0.6
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


VECTORS = clustered(COUNT, 1)
IDS = [f"seed{row}" for row in range(COUNT)]  # not in the order of text


@pytest.fixture(scope="module", params=["exact", "scann"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Index, Index]:
    """Build one index, and the same one in shards."""
    root = tmp_path_factory.mktemp(request.param)
    config = CONFIGS[request.param]
    build_index(root / "one", IDS, VECTORS, "made", 0.6, None, config)
    build_shards(root / "cut", IDS, VECTORS, "made", 0.6, None, config, SHARDS)
    return open_index(str(root / "one")), open_index(str(root / "cut"), "made")


@pytest.fixture(scope="module")
def exact_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cut") / "index"
    build_shards(
        root, IDS[:300], VECTORS[:300], "made", 0.6, None, IndexConfig(), SHARDS
    )
    return root


def test_the_cut_is_by_hash_and_the_same_everywhere() -> None:
    assert [shard_of(f"seed{i}", 5) for i in range(8)] == [0, 1, 4, 3, 3, 2, 2, 4]
    parts = split(IDS, SHARDS)
    assert sorted(np.concatenate(parts).tolist()) == list(range(COUNT))
    assert min(len(part) for part in parts) > COUNT / SHARDS * 0.85


def test_shards_answer_as_one(both: tuple[Index, Index]) -> None:
    one, cut = both
    queries = np.concatenate([clustered(100, 2), VECTORS[:20]])
    assert isinstance(cut, ShardedSearcher) and cut.ids == one.ids
    truth = one.exact_pairs_above(queries, 0.6)
    for column, expected in zip(
        cut.exact_pairs_above(queries, 0.6), truth, strict=True
    ):
        assert column.tobytes() == expected.tobytes()
    assert len(truth.similarity) > 500
    if one.manifest.kind == "exact":
        found = cut.pairs_above(queries, 0.6)
        assert [c.tobytes() for c in found] == [c.tobytes() for c in truth]
        for k, threshold in ((1, 0.6), (7, 0.6), (50, None), (2_000, None)):
            left, right = (x.search(queries, k, threshold) for x in both)
            assert left.ids == right.ids
            for i in (0, 2, 3):
                assert np.array_equal(left[i], right[i])
    else:
        assert cut.manifest.kind == "scann"
        for searcher in both:
            found = searcher.pairs_above(queries, 0.6)
            wanted = {(q, s): x for q, s, x in zip(*truth, strict=True)}
            pairs = list(zip(found.query_rows, found.seed_rows, strict=True))
            assert len(pairs) >= 0.98 * len(wanted)
            assert found.similarity.tolist() == [wanted[pair] for pair in pairs]


def test_the_best_of_shards_searched_apart_are_the_best(exact_shards: Path) -> None:
    queries = clustered(30, 3)
    whole = open_index(str(exact_shards))
    parts = [load_index(path) for path in sorted(exact_shards.iterdir())]
    merged = merge_matches([part.search(queries, 9, 0.5) for part in parts], 9)
    assert merged.ids == whole.search(queries, 9, 0.5).ids


def test_manifests_name_shard_and_build(exact_shards: Path, tmp_path: Path) -> None:
    manifests = [
        index_directory.read_manifest(p) for p in sorted(exact_shards.iterdir())
    ]
    assert [(m.shard, m.shards) for m in manifests] == [(0, 3), (1, 3), (2, 3)]
    assert len({m.build for m in manifests}) == 1
    assert len({m.version for m in manifests}) == 3
    whole = open_index(str(exact_shards))
    assert (whole.manifest.count, whole.manifest.shards) == (300, 1)
    order = np.random.default_rng(4).permutation(300)
    ids = [IDS[row] for row in order]
    build_shards(
        tmp_path / "i", ids, VECTORS[order], "made", 0.6, None, IndexConfig(), SHARDS
    )
    assert open_index(str(tmp_path / "i")).version == whole.version


def harmed(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "harmed"))


def refused(directory: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_index(str(directory))
    assert caught.value.reason == "damaged_index"
    return caught.value.message


@pytest.mark.parametrize("shard", [0, 1, 2])
def test_a_missing_shard_is_named(
    exact_shards: Path, tmp_path: Path, shard: int
) -> None:
    root = harmed(exact_shards, tmp_path)
    gone = root / f"shard-{shard:05d}-of-00003"
    shutil.rmtree(gone)
    assert f"{gone} is missing" in refused(root)


def test_a_damaged_shard_is_named(exact_shards: Path, tmp_path: Path) -> None:
    root = harmed(exact_shards, tmp_path)
    victim = root / "shard-00001-of-00003" / "ids.txt"
    victim.write_text(victim.read_text().upper())
    assert str(victim) in refused(root)
    (victim.parent / "manifest.json").unlink()
    assert f"{victim.parent / 'manifest.json'} is missing" in refused(root)


def test_shards_of_two_builds_are_refused(exact_shards: Path, tmp_path: Path) -> None:
    def replaced(embedder: str, ids: list[str], name: str) -> str:
        root = harmed(exact_shards, tmp_path / name)
        build_shards(
            root.parent / "other",
            ids,
            VECTORS[:300],
            embedder,
            0.6,
            None,
            IndexConfig(),
            SHARDS,
        )
        shutil.rmtree(root / "shard-00002-of-00003")
        shutil.copytree(
            root.parent / "other" / "shard-00002-of-00003",
            root / "shard-00002-of-00003",
        )
        return refused(root)

    assert "has embedder 'other', not 'made'" in replaced("other", IDS[:300], "a")
    message = replaced("made", [*IDS[:299], "more"], "b")
    assert "has build" in message and "shard-00002-of-00003" in message


def test_a_shard_under_another_number_is_refused(
    exact_shards: Path, tmp_path: Path
) -> None:
    root = harmed(exact_shards, tmp_path)
    shutil.rmtree(root / "shard-00001-of-00003")
    shutil.copytree(root / "shard-00000-of-00003", root / "shard-00001-of-00003")
    assert "has shard number 0, not 1" in refused(root)
    shutil.copytree(root / "shard-00000-of-00003", root / "shard-00000-of-00004")
    assert "shard-00000-of-00004 does not belong" in refused(root)


def test_another_embedder_is_refused(exact_shards: Path) -> None:
    for arguments in (("other", None), ("made", 9)):
        with pytest.raises(InputError) as caught:
            open_index(str(exact_shards), *arguments)
        assert caught.value.reason == "embedder_mismatch"


def test_an_empty_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        build_shards(
            tmp_path / "i", IDS[:3], VECTORS[:3], "made", 0.6, None, IndexConfig(), 8
        )
    assert caught.value.reason == "too_many_shards"


def test_a_torn_build_is_replaced_and_a_whole_one_kept(
    exact_shards: Path, tmp_path: Path
) -> None:
    root = harmed(exact_shards, tmp_path)

    def build() -> None:
        build_shards(
            root, IDS[:300], VECTORS[:300], "made", 0.6, None, IndexConfig(), SHARDS
        )

    with pytest.raises(InputError, match="holds an index"):
        build()
    (root / "shard-00002-of-00003" / "manifest.json").unlink()
    build()
    assert open_index(str(root)).manifest.count == 300
    shutil.rmtree(root / "shard-00002-of-00003")
    (root / "thesis.txt").write_text("keep me")
    with pytest.raises(InputError) as caught:
        build()
    assert caught.value.reason == "not_empty"
    assert (root / "thesis.txt").exists()


def test_what_is_not_an_index_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not_an_index"):
        open_index(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="did not finish"):
        open_index(str(tmp_path))


def test_an_index_in_a_bucket_is_copied_once(
    exact_shards: Path, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    uri = f"{bucket}/{tmp_path.name}/index"
    local = open_index(str(exact_shards))
    upload_directory(str(harmed(exact_shards, tmp_path)), uri)
    assert open_index(uri, "made").version == local.version
    (copy,) = (tmp_path / "cache" / "clipseed" / "index").iterdir()
    stamp = copy.stat().st_mtime_ns
    again = open_index(f"{uri}/")
    assert again.ids == local.ids and copy.stat().st_mtime_ns == stamp
    one = open_index(f"{uri}/shard-00001-of-00003")
    assert one.manifest.shard == 1
    victim = copy / "shard-00000-of-00003" / "vectors.npy"
    victim.write_bytes(victim.read_bytes()[:-1])
    assert str(victim) in refused_uri(uri)


def refused_uri(uri: str) -> str:
    with pytest.raises(InputError) as caught:
        open_index(uri)
    return caught.value.message


def test_a_bucket_without_manifest_is_no_index(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    (tmp_path / "i" / "ids.txt").write_text("a\n")
    upload_directory(str(tmp_path / "i"), f"{bucket}/{tmp_path.name}/torn")
    assert "holds no manifest.json" in refused_uri(f"{bucket}/{tmp_path.name}/torn")


def test_version_3_is_written(exact_shards: Path) -> None:
    fields = json.loads(
        (exact_shards / "shard-00000-of-00003/manifest.json").read_text()
    )
    assert fields["format_version"] == 3 and fields["vectors"] == "float32"
