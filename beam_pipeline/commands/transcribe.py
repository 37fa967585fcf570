"""`clipseed transcribe`: help and wrong flags are answered before Beam is imported."""

from collections.abc import Sequence

from beam_pipeline.captions.config import COMMAND_LINE


def run(arguments: Sequence[str]) -> int:
    """Run `clipseed transcribe`; return the exit status."""
    COMMAND_LINE.parse_known(arguments)
    from beam_pipeline.transcribe import run as transcribe

    return transcribe(arguments)


__all__ = ["COMMAND_LINE", "run"]
