"""`clipseed mine`: help and wrong flags are answered before Beam is imported."""

from collections.abc import Sequence

from beam_pipeline.mining.config import COMMAND_LINE


def run(arguments: Sequence[str]) -> int:
    """Run `clipseed mine`; return the exit status."""
    COMMAND_LINE.parse_known(arguments)
    from beam_pipeline.mine import run as mine

    return mine(arguments)


__all__ = ["COMMAND_LINE", "run"]
