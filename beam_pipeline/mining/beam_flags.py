"""Apache Beam's own flags: which there are, and which are mistyped."""

import argparse
import itertools
from functools import cache

from apache_beam.options.pipeline_options import PipelineOptions

_KNOWN_HERE = (None, "FnApiRunner", "DirectRunner", "DataflowRunner")


def spell_out(flags: list[str]) -> list[str]:
    """Give a bare `--dry_run` the value that Beam expects; it takes any for yes."""
    return [
        f"{flag}=True" if flag == "--dry_run" and after.startswith("--") else flag
        for flag, after in itertools.pairwise([*flags, "--"])
    ]


def unknown_flags(flags: list[str]) -> list[str]:
    """Return the flags that Beam would drop without a word."""
    given, unknown = _parser().parse_known_args(flags)
    if given.runner not in _KNOWN_HERE:
        return []  # Their job servers know options that are not known here.
    if given.template_location:
        return []  # A flex template's launcher adds flags of its own.
    return unknown


def known_flags() -> list[str]:
    """Return the names of Beam's flags."""
    options = _parser()._option_string_actions
    return [option.removeprefix("--") for option in options if option[:2] == "--"]


@cache
def _parser() -> argparse.ArgumentParser:
    """Return a parser of all options that Beam's modules declare."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    for options in [PipelineOptions, *PipelineOptions.__subclasses__()]:
        if hasattr(options, "_add_argparse_args"):
            try:
                options._add_argparse_args(parser)
            except argparse.ArgumentError:
                continue
    return parser
