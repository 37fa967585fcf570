"""`clipseed index`: build an index, audit it, serve it."""

from collections.abc import Sequence

from beam_pipeline.cli import Command, run_command

COMMANDS = {
    "build": Command(
        "beam_pipeline.commands.index_build",
        "build an index of embeddings, or of seed images",
    ),
    "audit": Command(
        "beam_pipeline.commands.index_audit",
        "print the recall and speed of an index, relative to exact search",
    ),
    "serve": Command("beam_pipeline.commands.index_serve", "answer searches over gRPC"),
}


def run(arguments: Sequence[str]) -> int:
    """Run a subcommand; return the exit status."""
    return run_command("clipseed index", COMMANDS, arguments)
