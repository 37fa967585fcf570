"""The evaluation of a captioner as text and JSON."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clipseed.errors import InputError
from models.captioning.evaluation.coco import coco_scores
from models.captioning.evaluation.results_table import PAPER, as_markdown
from models.captioning.evaluation.write_run import CaptionedClip, write_run
from models.captioning.writer import CaptionWriter
from models.data.evaluation import EvaluationData
from models.data.modality import chosen_modality
from models.training.history import TrainedOn, setting
from models.training.task import EvaluationOptions, Report

# How many captions and missing clips the text shows; the JSON has all.
_SHOWN = 5


def report(
    writer: CaptionWriter,
    lineage: Sequence[TrainedOn],
    run_dir: str,
    options: EvaluationOptions,
) -> Report:
    """Write about the clips of a run, and compare with its captions.

    Args:
        writer: of the model.
        lineage: the data that the model has seen.
        run_dir: the run.
        options: how to measure.

    Returns:
        A table, beside the paper's rows for its protocol, and some captions. The JSON
        has the caption of every clip. A missing clip has an empty caption, unless it is
        left out. Where the metrics cannot be computed, both say why.

    Raises:
        InputError: the run cannot be read; `no_modality`; `bad_option` for several
            segments.
    """
    if options.segments not in (None, 1):
        raise InputError(
            "bad_option", "a captioner writes about one segment: leave out --segments"
        )
    modality, masked = chosen_modality(options.modality, writer.segment)
    data = EvaluationData(run_dir, writer.segment, count=1)
    clips = write_run(writer, data, options.batch_size, masked)
    counted = [c for c in clips if not (options.leave_out and c.missing)]
    scores, problem = _scores(counted)
    tokens = sum(clip.tokens for clip in clips)
    loss = sum(clip.loss for clip in clips) / tokens if tokens else math.nan
    facts: dict[str, Any] = {
        "loss": loss,
        "scores": scores,
        "modality": modality,
        "beams": writer.config.beams,
        "max_tokens": writer.config.max_tokens,
    }
    if problem:
        facts["no_scores"] = problem
    protocol, label = "", modality
    if data.run.benchmark is not None:
        name = data.run.benchmark.name
        protocol, how = name.partition("/")[0], setting(lineage, name)
        label = f"{modality}, {how}"
        trained_on = [row._asdict() for row in lineage]
        facts |= {"benchmark": name, "setting": how, "trained_on": trained_on}
    if protocol in PAPER:
        facts["paper"] = {row.name: row.scores for row in PAPER[protocol]}
    facts["missing"] = {c.clip_id: c.missing for c in clips if c.missing}
    facts["captions"] = {c.clip_id: _as_json(c) for c in clips if not c.missing}
    table = as_markdown(label, scores, loss, len(counted), protocol)
    text = "\n".join([table, *_notes(clips, problem, options.leave_out)])
    return Report(text, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def _scores(
    clips: Sequence[CaptionedClip],
) -> tuple[Mapping[str, float] | None, str]:
    """Return the metrics, or why there are none."""
    if not clips:
        return None, "no clip is left to be measured"
    try:
        # A number names a clip: ids may be any text.
        return coco_scores(
            {str(i): clip.captions for i, clip in enumerate(clips)},
            {str(i): clip.written for i, clip in enumerate(clips)},
        ), ""
    except InputError as error:
        return None, error.message


def _as_json(clip: CaptionedClip) -> dict[str, Any]:
    score = None if math.isnan(clip.score) else clip.score
    return {
        "written": clip.written,
        "score": score,
        "ended": clip.ended,
        "captions": clip.captions,
    }


def _notes(
    clips: Sequence[CaptionedClip], problem: str, left_out: bool
) -> Iterator[str]:
    """Yield what a reader of the figures must know."""
    if problem:
        yield f"\nNo BLEU-4, CIDEr, METEOR, ROUGE-L: {problem}"
    there = [clip for clip in clips if not clip.missing]
    broken = sum(math.isnan(clip.score) for clip in there)
    if broken:
        yield f"\nClips for which the model computed NaN or infinity: {broken}"
    yield f"\nWritten, of {len(there)} clips:"
    for clip in there[:_SHOWN]:
        yield f"- {clip.clip_id}: {clip.written} (own: {clip.captions[0]})"
    missing = [clip for clip in clips if clip.missing]
    if missing:
        fate = "left out of the figures" if left_out else "counted as empty captions"
        yield f"\nClips missing, {fate}: {len(missing)}"
        yield from (f"- {clip.clip_id}: {clip.missing}" for clip in missing[:_SHOWN])
