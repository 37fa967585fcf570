"""The comparison of ONNX Runtime with TensorFlow runs, on few frames."""

import pytest

from tests.support.paths import DATA

MOBILENET = DATA / "models" / "mobilenet_v2_1.0_224_features"
pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")


@pytest.mark.ci_only
@pytest.mark.skipif(not MOBILENET.is_dir(), reason="needs shared/data/models")
def test_both_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.mining.embedders import main

    main([str(MOBILENET), "--frames=8", "--rounds=1"])
    printed = capsys.readouterr().out
    assert "| hub |" in printed and "| onnx |" in printed
    assert "times the CPU; smallest cosine 0.9999" in printed
