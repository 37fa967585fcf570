"""Where the tests find the checkout and the shared test data."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SPEECH = ROOT / "tests/support/speech.opus"
