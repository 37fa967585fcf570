"""What Beam says of a failed step is shown only where the command says nothing."""

import contextlib
import logging

import pytest
from apache_beam.runners.worker import sdk_worker

from beam_pipeline.runners.failures import tracebacks_held

LOG = logging.getLogger("apache_beam.runners.common")


def fail(line: str) -> None:
    with tracebacks_held(lambda error: bool(line)):
        LOG.info("a step begins")
        try:
            raise ZeroDivisionError("a bug")
        except ZeroDivisionError:
            LOG.exception("a step failed")
        sdk_worker.print("Traceback of a bundle")  # type: ignore[attr-defined]
        raise RuntimeError("the job failed")


@pytest.mark.parametrize("line", ["", "the disk is full"])
def test_tracebacks_are_shown_where_nothing_else_says_it(
    line: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), pytest.raises(RuntimeError):
        fail(line)
    shown = [] if line else ["a step failed"]
    assert caplog.messages == ["a step begins", *shown]
    assert capsys.readouterr().err == ("" if line else "Traceback of a bundle\n")
    assert sdk_worker.print is print  # type: ignore[attr-defined]


def test_a_block_inside_another_leaves_it_the_rest(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RuntimeError), tracebacks_held(lambda error: True):
        fail("")
    assert caplog.messages == [] and capsys.readouterr().err == ""


def test_a_block_inside_another_has_the_first_say(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As where a job says that the disk is full, and ends with a status."""
    with tracebacks_held(lambda error: False), contextlib.suppress(RuntimeError):
        fail("the disk is full")
    assert caplog.messages == [] and capsys.readouterr().err == ""


def test_nothing_is_held_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    with tracebacks_held(lambda error: False):
        LOG.error("a bundle failed, and was tried again")
        assert caplog.messages == []
    LOG.error("later")
    assert caplog.messages == ["a bundle failed, and was tried again", "later"]
