"""Each field of a published configuration is honored, or refused by a line.

What a checkpoint of the same tensors and another activation, epsilon or number of heads
computes is compared in `test_adopt.py` and `test_vision.py`; here is what has no
counterpart in our models, and what is spelled in more than one way.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipseed.errors import InputError
from models.backbones.bert.model import BertConfig, bert_config
from models.backbones.clip.weights import (
    clip_config,
    clip_text_config,
    clip_vision_config,
)
from models.backbones.dinov2.weights import dinov2_config
from models.backbones.siglip.image_tower import siglip_vision_config
from models.backbones.vit.weights import vit_config
from models.pretrained.checkpoint import read_config, say_dropout
from models.pretrained.preprocessing import preprocessing_of

Read = Callable[[dict[str, Any]], Any]


def vit(published: dict[str, Any]) -> Any:
    return vit_config({"model_type": "vit", **published})


def ast(published: dict[str, Any]) -> Any:
    return vit_config({"model_type": "audio-spectrogram-transformer", **published})


@pytest.mark.parametrize(
    "read",
    [bert_config, vit, ast, dinov2_config, siglip_vision_config, clip_text_config,
     clip_vision_config],
)  # fmt: skip
def test_what_every_block_has_is_read(read: Read) -> None:
    fields = {"hidden_act": "relu", "layer_norm_eps": 0.5, "num_attention_heads": 2}
    parts = {"text_config": fields, "vision_config": fields}
    found = read(parts | fields)
    assert (found.activation, found.norm_epsilon, found.heads) == ("relu", 0.5, 2)


@pytest.mark.parametrize(
    ("read", "published"),
    [
        (bert_config, {"position_embedding_type": "relative_key_query"}),
        (bert_config, {"is_decoder": True}),
        (bert_config, {"add_cross_attention": True}),
        (bert_config, {"num_attention_heads": 7}),
        (vit, {"qkv_bias": False}),
        (vit, {"image_size": [224]}),
        (vit, {"patch_size": [2, 16, 16]}),
        (ast, {"qkv_bias": False}),
        (ast, {"patch_size": [16, 16]}),
        (dinov2_config, {"use_swiglu_ffn": True}),
        (dinov2_config, {"qkv_bias": False}),
        (dinov2_config, {"mlp_ratio": 2.5}),
        (siglip_vision_config, {"vision_use_head": False}),
        (clip_text_config, {"text_config": {"eos_token_id": [1, 2]}}),
        *((read, {"hidden_act": "swish"}) for read in (bert_config, vit, ast)),
    ],
)
def test_what_our_models_do_not_have_is_refused(
    read: Read, published: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as caught:
        read(published)
    assert caught.value.reason in ("bad_checkpoint", "bad_model_config")


@pytest.mark.parametrize("field", ["auto_map", "quantization_config"])
def test_another_model_of_the_same_type_is_refused(field: str, tmp_path: Path) -> None:
    config = {"model_type": "bert", field: {"AutoModel": "modeling.Bert"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=field) as caught:
        read_config(str(tmp_path), ["bert"])
    assert caught.value.reason == "bad_checkpoint"


def test_null_is_the_default() -> None:
    """As where nothing is said of the kind of positions."""
    assert bert_config({"position_embedding_type": None}) == BertConfig()


def test_the_first_clips_say_their_towers_twice() -> None:
    """`text_config_dict` counts, with defaults for what it does not say.

    So it is in transformers 5.23, `CLIPConfig.__post_init__`.
    """
    plain = {"hidden_act": "gelu", "hidden_size": 64, "num_attention_heads": 2}
    old = {"hidden_size": 128, "num_attention_heads": 4}
    published = {"model_type": "clip"}
    for tower in ("text", "vision"):
        published |= {f"{tower}_config": plain, f"{tower}_config_dict": old}
    found = clip_config(published)
    for config in (found.text, found.vision):
        assert (config.hidden, config.heads) == (128, 4)
        assert config.activation == "quick_gelu"
    published |= {"text_config_dict": None, "vision_config_dict": None}
    found = clip_config(published)
    assert found.text.activation == found.vision.activation == "gelu"
    assert (found.text.hidden, found.vision.hidden) == (64, 64)


def test_a_tower_alone_is_the_tower_of_a_whole() -> None:
    text = {"hidden_act": "gelu", "vocab_size": 99, "eos_token_id": 98}
    alone = clip_text_config({"model_type": "clip_text_model", **text})
    assert alone == clip_text_config({"model_type": "clip", "text_config": text})
    assert clip_config({"projection_dim": 99}).projection == 99


def test_a_step_that_is_not_done_is_refused() -> None:
    published = {"image_processor_type": "ViTImageProcessor", "do_convert_rgb": True}
    assert preprocessing_of(published | {"do_pad": False}, "here", "vit")
    with pytest.raises(InputError, match="do_flip_channel_order") as caught:
        preprocessing_of(published | {"do_flip_channel_order": True}, "here", "vit")
    assert caught.value.reason == "bad_checkpoint"


def test_dropout_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = {"model_type": "bert", "hidden_dropout_prob": 0.1, "attention_dropout": 0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with caplog.at_level(logging.INFO):
        say_dropout("task.text", str(tmp_path))
        say_dropout("task.text", str(tmp_path))
    assert len(caplog.messages) == 1
    assert "hidden_dropout_prob = 0.1" in caplog.messages[0]
