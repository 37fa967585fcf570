"""`clipseed caption`: help and wrong flags are answered before Beam is imported."""

from collections.abc import Sequence

from beam_pipeline.captions.caption_config import COMMAND_LINE


def run(arguments: Sequence[str]) -> int:
    """Run `clipseed caption`; return the exit status."""
    COMMAND_LINE.parse_known(arguments)
    from beam_pipeline.caption import run as caption

    return caption(arguments)


__all__ = ["COMMAND_LINE", "run"]
