"""Check the words that people read against the project's vocabulary.

    python tools/words.py [FILE ...]    # report, exit status 1 if there is anything

Python files are read as tokens: identifiers, comments, and strings that are prose.
Functions' docstrings must start with an imperative verb. Of Markdown, everything but
code is read.
"""

import argparse
import ast
import functools
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

# The checker and its tests have to spell what they forbid.
_EXEMPT = {"tools/words.py", "tests/tools/test_words.py"}
_GENERATED = ("_pb2.py", "_pb2_grpc.py", ".pyi")

_UNITS = (
    "batch bundle caption channel clip element epoch file frame head image job key "
    "layer machine part process query record row run seed shard stage step token "
    "video worker"
)


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    advice: str


def _rule(pattern: str, advice: str) -> _Rule:
    """Compile a pattern whose spaces also match a line break."""
    return _Rule(re.compile(pattern.replace(" ", r"\s+"), re.IGNORECASE), advice)


_BRITISH = _rule(
    r"(?:\b|(?<=_))(?:un|re|de|non)?(?:"
    r"(?:optim|normal|initial|serial|quant|token|organ|recogn|summar|minim|maxim|"
    r"random|vector|parallel|synchron|util|visual|general|regular|material|categor|"
    r"standard|final|local|special|character|priorit|binar|symbol|penal|central)"
    r"is(?:e[drs]?|ing|ation|able|ers)"
    r"|(?:colo|behavio|favo|neighbo|hono|flavo|labo|rumo|vapo)ur(?!i)\w*"
    r"|analys(?:e[drs]?|ing)|artefacts?|centre[sd]?|grey\w*|judgements?|licence[sd]?"
    r"|defence|label(?:led|ling)|model(?:led|ling)|travel(?:led|ling)"
    r"|signal(?:led|ling)|whilst|amongst|learnt"
    r")(?:\b|(?=_))",
    "use American spelling",
)

_PROSE = (
    _BRITISH,
    _rule(r"\bgives\b", "returns, yields, takes, or shows"),
    _rule(
        r"(?<!there\s)\b(?:is|are) no\b"
        r"(?! (?:longer|more|less|fewer|greater|different))",
        "is not a",
    ),
    _rule(r"\b(?:lies|lie) (?:in|on|at|under|below|beside|here|there)\b", "is in"),
    _rule(r"\b(?:stands|stand)\b(?! in for)", "is"),
    _rule(r"\btells\b", "shows, says, or decides"),
    _rule(r"\banew\b", "again, or from the start"),
    _rule(r"\blikewise\b", "also"),
    _rule(r"\bgo(?:es)? on\b", "continues, or resumes"),
    _rule(r"\breckon\w*", "estimate"),
    _rule(r"\bat hand\b", "available"),
    _rule(r"\bto be had\b", "available"),
    _rule(r"\bfor ever\b", "forever"),
    _rule(r"\bwhat was not\b", "say which"),
    _rule(
        rf"\b(?:once|one \w+|two \w+|three \w+|\d+ \w+|at most \w+) an? "
        rf"(?:{'|'.join(_UNITS.split())})\b",
        "per",
    ),
    _rule(r"\bspans?\b", "video part"),
    _rule(r"\btapes?\b", "audio buffer"),
    _rule(r"\breels?\b", "frame buffer"),
    _rule(r"(?<!ground\s)(?<!chequered\s)\bfloors?\b", "minimum similarity"),
    _rule(r"\bgiven index(?:es)?\b", "external index"),
    _rule(r"\bkept cop(?:y|ies)\b", "download cache"),
    _rule(r"\bkept (?:frames|embeddings)\b", "frame embedding cache"),
    _rule(r"\bolder runs?\b", "base run"),
    _rule(r"\bentry points? of the stream\b", "random access point"),
    _rule(
        r"\b(?:a|the|each|every|its|these|of) (?:rejects?|letters?)\b", "dead letter"
    ),
)
_ANY_PROSE = re.compile("|".join(r.pattern.pattern for r in _PROSE), re.IGNORECASE)
_IDENTIFIERS = (
    _BRITISH,
    _rule(r"(?:^|_)spans?(?:_|$)", "part"),
    _rule(r"(?:^|_)(?:tapes?|reels?)(?:_|$)", "buffer"),
    _rule(r"(?:^|_)reject(?:s|ing)?$|^_?letters?$", "error, or dead_letter"),
)

_VERBS_IN_S = {"Focus", "Bias", "Canvas"}
_NOT_VERBS = frozenset(
    word.capitalize()
    for word in re.findall(
        r"\w+",
        "the a an whether what how which where when who that this these those each "
        "every one two nothing none all any always never at by in on of for from with",
    )
)


class Finding(NamedTuple):
    """A word that the vocabulary does not have, and what to use for it."""

    line: int
    text: str
    advice: str


def check_python(source: str) -> list[Finding]:
    """Return what is wrong with the words of a Python file, by line."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    found = [*_check_names(tokens), *_check_docstrings(source)]
    for line, text in _prose_blocks(tokens):
        found += _check_prose(line, text)
    return sorted(found)


def check_markdown(source: str) -> list[Finding]:
    """Return what is wrong with the words of a Markdown file, by line."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    text = re.sub(r"^( *)```.*?^\1```", blank, source, flags=re.DOTALL | re.MULTILINE)
    return _check_prose(1, re.sub(r"`[^`]+`", "`code`", text))


def _check_prose(first_line: int, text: str) -> list[Finding]:
    if not _ANY_PROSE.search(text):
        return []
    return [
        Finding(first_line + text.count("\n", 0, match.start()), match[0], rule.advice)
        for rule in _PROSE
        for match in rule.pattern.finditer(text)
    ]


def _check_names(tokens: Sequence[tokenize.TokenInfo]) -> Iterator[Finding]:
    for token in tokens:
        if token.type == tokenize.NAME and (advice := _name_advice(token.string)):
            yield Finding(token.start[0], token.string, advice)


@functools.cache
def _name_advice(name: str) -> str | None:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return next((r.advice for r in _IDENTIFIERS if r.pattern.search(words)), None)


def _check_docstrings(source: str) -> Iterator[Finding]:
    for node in _functions(ast.parse(source)):
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        if decorators & {"property", "functools.cached_property", "cached_property"}:
            continue
        word = (ast.get_docstring(node) or "Return").split()[0].strip("`'\".,:;")
        is_third_person = word.endswith("s") and not word.endswith("ss")
        if word in _NOT_VERBS or (is_third_person and word not in _VERBS_IN_S):
            line = node.body[0].lineno
            yield Finding(line, word, "start the docstring with an imperative verb")


def _functions(node: ast.AST) -> Iterator[ast.FunctionDef]:
    """Yield the functions below a node without walking its expressions."""
    for child in getattr(node, "body", []):
        if isinstance(child, ast.FunctionDef) and not child.name.startswith("test_"):
            yield child
        yield from _functions(child) if isinstance(child, ast.stmt) else ()


def _prose_blocks(tokens: Sequence[tokenize.TokenInfo]) -> Iterator[tuple[int, str]]:
    """Yield runs of comments or of adjacent strings, with the first line of each.

    A run is one text, because a phrase may be broken over its lines.
    """
    run: list[str] = []
    first = last = kind = 0
    for token in tokens:
        if token.type in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
            continue
        is_prose = token.type in (tokenize.COMMENT, tokenize.STRING)
        if run and (token.type != kind or token.start[0] > last + 1):
            yield first, "\n".join(run)
            run = []
        if is_prose:
            lines = [line.strip(" #\t") for line in token.string.splitlines()]
            if token.type == tokenize.STRING:
                lines = [_unquote(line) for line in lines]
            if not run:
                first, kind = token.start[0], token.type
            elif token.start[0] == last:
                lines[0] = f"{run.pop()} {lines[0]}"
            run += lines
            last = token.end[0]
    if run:
        yield first, "\n".join(run)


def _unquote(line: str) -> str:
    return re.sub(r"^[rbfu]{0,2}([\"']{3}|[\"'])|([\"']{3}|[\"'])$", "", line).strip()


def _tracked_files() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(
        [*command, "*.py", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [
        name
        for name in listed.stdout.splitlines()
        if name not in _EXEMPT
        and not name.endswith(_GENERATED)
        and (ROOT / name).exists()
    ]


def check_file(name: str) -> list[Finding]:
    """Return the findings of one file, by its name from the repository's root."""
    source = (ROOT / name).read_text()
    return check_markdown(source) if name.endswith(".md") else check_python(source)


def main(argv: Sequence[str] | None = None) -> int:
    """Check the named files, or all of them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="files to check (default: all)")
    flags = parser.parse_args(argv)
    findings = {name: check_file(name) for name in flags.files or _tracked_files()}
    for name, found in findings.items():
        for line, text, advice in found:
            print(f"{name}:{line}: {' '.join(text.split())!r}: {advice}")
    return int(any(findings.values()))


if __name__ == "__main__":
    sys.exit(main())
