"""The metrics are those of pycocoevalcap, or there are none."""

import contextlib
import io
import shutil
import subprocess
from typing import Any

import pytest

from clipseed.errors import InputError
from models.captioning.evaluation import coco
from models.captioning.evaluation.coco import METRICS, coco_scores

REFERENCES = {
    "1": ["A dog runs on grass.", "the dog is running, fast"],
    "2": ["a cat sits on a mat", "cat!"],
    "3": ["two men talk about\nfootball"],
}
WRITTEN = {"1": "a dog runs fast", "2": "", "3": "Two men talk."}


@pytest.mark.ci_only
def test_they_equal_the_package_called_by_hand() -> None:
    pytest.importorskip("pycocoevalcap")
    if shutil.which("java") is None:
        pytest.skip("there is no Java here")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    def rows(texts: Any) -> Any:
        return {k: [{"caption": text} for text in v] for k, v in texts.items()}

    wanted = PTBTokenizer().tokenize(rows(REFERENCES))
    given = PTBTokenizer().tokenize(rows({k: [v] for k, v in WRITTEN.items()}))
    scorers = (Bleu(4), Cider(), Meteor(), Rouge())
    with contextlib.redirect_stdout(io.StringIO()):
        by_hand = [scorer.compute_score(wanted, given)[0] for scorer in scorers]
    by_hand[0] = by_hand[0][3]
    found = coco_scores(REFERENCES, WRITTEN)
    assert list(found) == list(METRICS)
    assert [found[name] / 100 for name in METRICS] == pytest.approx(by_hand)
    assert found["CIDEr"] > 0 and found["METEOR"] > 0

    # A caption that is written last and is empty does not shift the others.
    assert coco_scores(
        {name: REFERENCES[name] for name in ("1", "3", "2")},
        {name: WRITTEN[name] for name in ("1", "3", "2")},
    ) == pytest.approx(found)


@pytest.mark.parametrize(
    ("java", "status", "said", "reason"),
    [
        (None, 0, b"", "no_java"),
        ("/bin/java", 3, b"", "no_pycocoevalcap"),
        ("/bin/java", 1, b"Traceback\nOSError: read-only", "metrics_failed"),
    ],
)
def test_without_them_there_are_no_numbers(
    monkeypatch: pytest.MonkeyPatch,
    java: str | None,
    status: int,
    said: bytes,
    reason: str,
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, status, b"", said)

    monkeypatch.setattr(shutil, "which", lambda _: java)
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(InputError) as caught:
        coco_scores(REFERENCES, WRITTEN)
    assert caught.value.reason == reason


def test_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(shutil, "which", lambda _: "/bin/java")
    monkeypatch.setattr(coco.subprocess, "run", run)
    with pytest.raises(InputError) as caught:
        coco_scores(REFERENCES, WRITTEN)
    assert caught.value.reason == "metrics_failed"
