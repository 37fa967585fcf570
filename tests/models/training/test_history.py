import pytest

from models.training.history import TrainedOn, setting


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ([], "zero-shot"),
        ([""], "zero-shot"),
        (["audiocaps/train"], "zero-shot"),
        (["", "msr_vtt_captions/train"], "fine-tuned"),
        (["msr_vtt_captions/test"], "trained on these very clips"),
        (["msr_vtt/train"], "may have been trained on some of these clips"),
    ],
)
def test_what_a_result_may_be_called(seen: list[str], said: str) -> None:
    lineage = [TrainedOn("run", name, 1) for name in seen]
    assert setting(lineage, "msr_vtt_captions/test") == said
