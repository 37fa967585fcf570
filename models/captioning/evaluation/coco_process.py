"""The process that `coco_scores` starts: JSON in, JSON out.

echo '{"references": {"a": ["a dog"]}, "written": {"a": "a dog"}}' |
    python -m models.captioning.evaluation.coco_process
"""

import json
import sys
from collections.abc import Mapping, Sequence


def main() -> int:
    """Compute the metrics; return 0, or 3 where the package is not installed."""
    try:
        import pycocoevalcap.bleu.bleu  # noqa: F401
    except ModuleNotFoundError:
        return 3
    request = json.load(sys.stdin)
    found = _metrics(request["references"], request["written"])
    print(f"\n{json.dumps(found)}")
    return 0


def _metrics(
    references: Mapping[str, Sequence[str]], written: Mapping[str, str]
) -> dict[str, float]:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge

    wanted = _tokenized(references)
    given = _tokenized({name: [text] for name, text in written.items()})
    bleu, _ = Bleu(4).compute_score(wanted, given, verbose=0)
    return {
        "BLEU-4": float(bleu[3]),
        "CIDEr": float(Cider().compute_score(wanted, given)[0]),
        "METEOR": float(Meteor().compute_score(wanted, given)[0]),
        "ROUGE-L": float(Rouge().compute_score(wanted, given)[0]),
    }


def _tokenized(texts: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return texts as the package's tokenizer splits them.

    It takes a line per text, and loses empty ones at the end; what is empty, or only
    space, is kept from it.
    """
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    lines = {
        name: [" ".join(text.split()) for text in of] for name, of in texts.items()
    }
    kept = {
        f"{name}/{place}": [{"caption": line}]
        for name, of in lines.items()
        for place, line in enumerate(of)
        if line
    }
    found = PTBTokenizer().tokenize(kept) if kept else {}
    if found.keys() != kept.keys():
        raise ValueError("the tokenizer returned another number of lines")
    return {
        name: [found.get(f"{name}/{place}", [""])[0] for place in range(len(of))]
        for name, of in lines.items()
    }


if __name__ == "__main__":
    sys.exit(main())
