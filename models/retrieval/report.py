"""The evaluation of a retrieval model as text and JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.data.evaluation import EvaluationData
from models.data.modality import chosen_modality
from models.retrieval.encoder import Encoder
from models.retrieval.evaluate import embed_run, evaluate
from models.retrieval.results_table import PAPER, as_json, as_markdown
from models.training.history import TrainedOn, setting
from models.training.task import EvaluationOptions, Report

# Per clip, as the paper has it.
_SEGMENTS = 4
# How many missing clips the text names; the JSON names all.
_NAMED = 10
_V2T: Mapping[str, str] = {
    "frozen": "against all captions, the best of its own counts (as Frozen in Time "
    "does; --v2t clip4clip ranks clips by their best caption)",
    "clip4clip": "against all clips by their best caption (as CLIP4Clip does; --v2t "
    "frozen ranks all captions)",
}


def report(
    encoder: Encoder,
    lineage: Sequence[TrainedOn],
    run_dir: str,
    options: EvaluationOptions,
) -> Report:
    """Measure retrieval on a run.

    Args:
        encoder: of the model.
        lineage: the data that the model has seen.
        run_dir: the run.
        options: how to measure.

    Returns:
        A table, beside the paper's rows if the run was cut from a benchmark. The JSON
        also says why a clip was not embedded (`missing`, by id), how many captions the
        model cannot tell from another (`captions_alike`), and by which convention
        clips of several captions were ranked (`v2t`).

    Raises:
        InputError: the run cannot be read; `no_modality` if the model does not take
            the modality.
    """
    modality, masked = chosen_modality(options.modality, encoder.segment)
    data = EvaluationData(run_dir, encoder.segment, options.segments or _SEGMENTS)
    embedded = embed_run(encoder, data, options.batch_size, masked)
    figures = evaluate(embedded, options.leave_out, options.v2t)
    facts: dict[str, Any] = {"modality": modality, "missing": embedded.missing}
    facts["captions_alike"] = embedded.alike
    facts["captions_per_clip"] = int(embedded.relevant.sum(axis=0).max())
    facts["v2t"] = options.v2t
    protocol, label = "", options.modality or ""
    if data.run.benchmark is not None:
        name = data.run.benchmark.name
        how = setting(lineage, name)
        facts |= {
            "benchmark": name,
            "setting": how,
            "trained_on": [row._asdict() for row in lineage],
        }
        protocol, label = name.partition("/")[0], f"{modality}, {how}"
        protocol = protocol if protocol in PAPER else ""
    table = as_markdown(figures, protocol, label)
    text = "\n".join([table, *_notes(facts, options.leave_out)])
    return Report(text, as_json(figures, protocol, facts))


def _notes(facts: Mapping[str, Any], left_out: bool) -> Iterator[str]:
    """Yield what a reader of the figures must know."""
    if facts["captions_per_clip"] > 1:
        yield f"\nA clip to its several captions: {_V2T[facts['v2t']]}"
    if facts["captions_alike"]:
        yield (
            "\nCaptions that the model cannot tell from another (cropped, or of words "
            f"that it does not know): {facts['captions_alike']}"
        )
    missing = facts["missing"]
    if missing:
        fate = "left out of the figures" if left_out else "counted as found last"
        yield f"\nClips missing, {fate}: {len(missing)}"
        yield from (f"- {name}: {missing[name]}" for name in sorted(missing)[:_NAMED])
    if len(missing) > _NAMED:
        yield f"- and {len(missing) - _NAMED} more; --output names all"
