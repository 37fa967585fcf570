"""Mine, train, evaluate, search: four commands in a row on real videos."""

import json
from pathlib import Path

import pytest

from beam_pipeline.cli import main
from tests.support.paths import DATA


@pytest.mark.ci_only
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
def test_what_was_mined_is_learned_and_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model, index = (str(tmp_path / name) for name in ("run", "model", "index"))
    mobilenet = DATA / "models" / "mobilenet_v2_1.0_224_features"
    places = [f"--seeds={DATA / 'pairs.csv'}", f"--videos={DATA / 'videos'}"]
    embedder = [f"--embedder=hub:{mobilenet}", "--threshold=0.7", "--clip_fps=10"]
    assert main(["mine", *places, *embedder, f"--output={run}"]) == 0

    settings = ["batch_size=24", "epochs=150", "task.frame_stride=20"]
    flags = [f"--set={setting}" for setting in settings]
    assert main(["train", "tiny", f"--data={run}", f"--output={model}", *flags]) == 0

    figures = tmp_path / "figures.json"
    assert main(["evaluate", model, f"--data={run}", f"--output={figures}"]) == 0
    found = json.loads(figures.read_text())["text_to_clip"]
    assert found["candidates"] >= 20 and found["recall"][0] >= 90

    assert main(["index-clips", run, f"--model={model}", f"--output={index}"]) == 0
    capsys.readouterr()
    text = "a woman playing the harp on a stage"
    assert main(["search", text, f"--index={index}", "--top_k=1"]) == 0
    assert text in capsys.readouterr().out
