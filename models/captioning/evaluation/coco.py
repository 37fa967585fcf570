"""BLEU-4, CIDEr, METEOR and ROUGE-L, as the package `pycocoevalcap` computes them.

    coco_scores({"a": ["a dog runs", "a dog"]}, {"a": "a dog runs"})

Its tokenizer (PTB) and METEOR are Java programs. Published figures depend on exactly
these, so that without Java there are none, rather than those of another tokenizer.
The package runs in a process of its own, as it writes to the terminal and METEOR may
hang.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from clipseed.errors import InputError

METRICS = ("BLEU-4", "CIDEr", "METEOR", "ROUGE-L")
_TIMEOUT_S = 3600
_NO_PACKAGE = 3  # exit status


def coco_scores(
    references: Mapping[str, Sequence[str]], written: Mapping[str, str]
) -> dict[str, float]:
    """Return the metrics, multiplied by 100 as they are published.

    Args:
        references: captions of each clip, at least one.
        written: one caption of each of these clips; "" counts as wrong.

    Raises:
        InputError: `no_java`, `no_pycocoevalcap`; `metrics_failed` with what its
            programs said.
    """
    if shutil.which("java") is None:
        raise InputError(
            "no_java",
            "pycocoevalcap's tokenizer and METEOR are Java programs, and there is no "
            "`java`: install one, such as Debian's default-jre-headless",
        )
    request = json.dumps({"references": references, "written": written})
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"{__package__}.coco_process"],
            input=request.encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(
            "metrics_failed", f"pycocoevalcap took more than {_TIMEOUT_S} s"
        ) from error
    if done.returncode == _NO_PACKAGE:
        raise InputError(
            "no_pycocoevalcap",
            "the metrics are those of the package pycocoevalcap, which is not "
            "installed: pip install clipseed[metrics]",
        )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(
            "metrics_failed",
            f"pycocoevalcap failed: {said[-1] if said else 'it said nothing'}",
        )
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: 100 * found[name] for name in METRICS}
