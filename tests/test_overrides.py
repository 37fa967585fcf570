"""Overriding settings by name."""

import dataclasses

import pytest

from models.dual_encoder import DualEncoderConfig
from models.overrides import as_json, override
from transforms.elements import Reject


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
        ("model.clips.layers=two", "is a int"),
        ("model.clips.layers=2.5", "is a int"),
        ("resume=1", "is a bool"),
        ("resume", "has no value"),
    ],
)
def test_what_does_not_fit_is_said(setting: str, said: str) -> None:
    with pytest.raises(Reject, match="bad_override") as caught:
        override(Config(), [setting])
    assert said in caught.value.message


def test_json_has_every_field() -> None:
    made = as_json(Config())
    assert made["class"] == "Config" and made["model"]["clips"]["layers"] == 12
    assert made["data"][0] == {"class": "Source", "path": "a", "weight": 1.0}
