"""The command line: `clipseed COMMAND ...`."""

import importlib
import sys
from collections.abc import Callable, Sequence

_USAGE = """usage: clipseed COMMAND [FLAGS]

commands:
  mine           mine video clips for the captions of images
  inspect        print what a run holds, and draw a contact sheet
  estimate-cost  estimate the cost of mining a corpus
  index          build an index of seeds, audit it, serve it
  cut-benchmark  cut the clips of a published benchmark into a run directory
  train          train a retrieval model on what was mined
  evaluate       measure a trained model on the clips of a run
  index-clips    index the clips of a run by a trained model
  search         find clips by a description
  demo           render a small corpus, mine it, and check what was found

`clipseed COMMAND --help` lists a command's flags."""

_INTERRUPTED = (
    "interrupted; `mine` and `train` go on where they were when started again"
)

_MODULES = {
    "mine": "beam_pipeline.commands.mine",
    "inspect": "beam_pipeline.commands.inspect",
    "estimate-cost": "beam_pipeline.commands.estimate_cost",
    "index": "beam_pipeline.commands.index",
    "cut-benchmark": "beam_pipeline.commands.cut_benchmark",
    "train": "beam_pipeline.commands.train",
    "evaluate": "beam_pipeline.commands.evaluate",
    "index-clips": "beam_pipeline.commands.index_clips",
    "search": "beam_pipeline.commands.search",
    "demo": "beam_pipeline.commands.demo",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; gives the exit status, 130 when it was interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return 0 if arguments else 2
    command = _command(arguments[0])
    if command is None:
        print(f"clipseed: unknown command {arguments[0]!r}\n{_USAGE}", file=sys.stderr)
        return 2
    try:
        return command(arguments[1:])
    except KeyboardInterrupt:
        print(f"clipseed {arguments[0]}: {_INTERRUPTED}", file=sys.stderr)
        return 130


def _command(name: str) -> Callable[[Sequence[str]], int] | None:
    """The command's function; only its own modules are imported."""
    module = _MODULES.get(name)
    return importlib.import_module(module).run if module else None


if __name__ == "__main__":
    sys.exit(main())
