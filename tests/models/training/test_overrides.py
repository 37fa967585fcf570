"""Overriding settings by name."""

import dataclasses
import json

import pytest

from clipseed.errors import InputError
from models.retrieval.dual_encoder import DualEncoderConfig
from models.training.overrides import as_json, from_json, override


@dataclasses.dataclass(frozen=True)
class Source:
    path: str = ""
    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class Config:
    model: DualEncoderConfig = dataclasses.field(default_factory=DualEncoderConfig)
    data: tuple[Source, ...] = (Source("a"), Source("b"))
    limit: int | None = None
    resume: bool = True


def test_fields_are_set_by_path() -> None:
    before = Config()
    after = override(
        before,
        [
            "model.clips.layers=2",
            "model.clips.modalities=['audio']",
            "model.temperature=1",
            "data.1.path=gs://b/c",
            "data.0.path=7",
            "resume=False",
            "limit=3",
        ],
    )
    assert after.model.clips.layers == 2 and before.model.clips.layers == 12
    assert after.model.clips.modalities == ("audio",)
    assert after.model.temperature == 1.0
    assert after.data == (Source("7"), Source("gs://b/c"))
    assert after.resume is False and after.limit == 3


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.clips.depth=2", "hidden, layers"),
        ("model.clips.layers.x=2", "nothing below it"),
        ("data.2.path=x", "no field"),
        ("model.clips.layers=two", "is of type int"),
        ("model.clips.layers=2.5", "is of type int"),
        ("resume=1", "is of type bool"),
        ("resume", "has no value"),
    ],
)
def test_what_does_not_fit_is_said(setting: str, said: str) -> None:
    with pytest.raises(InputError, match="bad_override") as caught:
        override(Config(), [setting])
    assert said in caught.value.message


def test_json_has_every_field() -> None:
    made = as_json(Config())
    assert made["class"] == "Config" and made["model"]["clips"]["layers"] == 12
    assert made["data"][0] == {"class": "Source", "path": "a", "weight": 1.0}


@dataclasses.dataclass(frozen=True)
class Other:
    depth: int = 3


@dataclasses.dataclass(frozen=True)
class Either:
    model: Source | Other = Other()
    many: tuple[Source, ...] = ()
    sizes: tuple[int, ...] = (1,)


def test_json_is_read_as_the_class_that_it_names() -> None:
    config = Either(Source("a", 2.0), (Source("b"), Source("c")), (4, 5))
    assert from_json(Either(), json.loads(json.dumps(as_json(config)))) == config
    assert from_json(config, {"sizes": [7]}) == dataclasses.replace(config, sizes=(7,))
    assert override(config, ["model.weight=3"]).model == Source("a", 3.0)
    with pytest.raises(InputError, match="not one of path, weight"):
        override(config, ["model.depth=3"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"model": {"class": "Third"}}, "knows Source, Other there, not 'Third'"),
        (
            {"model": {"class": "Other", "path": "x"}},
            "path is not a setting of .* Other",
        ),
        ({"color": 1}, "color is not a setting of this version's Either"),
    ],
)
def test_json_of_another_version_is_refused(data: dict, said: str) -> None:
    with pytest.raises(InputError, match=f"bad_config.*{said}"):
        from_json(Either(), data)
