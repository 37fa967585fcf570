"""Commands write on stderr what Clipseed prints and nothing else, without ffmpeg."""

import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.made_media import film, still, tone, write_video
from tests.support.models.tiny_config import write_config
from tests.support.paths import ROOT
from tests.support.quick_compiler import QUICK_COMPILER

# What each command writes on stderr, as a regular expression.
EXPECTED = {
    "demo": "",
    "mine": "",
    "index build": "",
    "index build, ScaNN": "",
    "train": r"([=. ]+\d+/\d+  loss \d+\.\d+  accuracy \d\.\d+  [\d.]+ clips/s *)*\n?",
    "index-clips": "",
    "evaluate": "",
    "search": "",
}


# On a terminal, mining shows how far it is, in one line that is drawn again and again.
PROGRESS = r"(\S +\d+ s  video parts \d+  frames \d+ \(\d+/s\)  clips \d+\s*)*"
# What embeds clips has a bar, of how many there are.
BAR = r"(clips \S+ *\d+/\d+ \S+\s*)*"
ON_A_TERMINAL = EXPECTED | {
    "demo": PROGRESS,
    "mine": PROGRESS,
    "index-clips": BAR,
    "evaluate": BAR,
}


def write_corpus(root: Path) -> None:
    (root / "videos").mkdir()
    (root / "seeds").mkdir()
    rows = ["image,caption"]
    for scene in range(3):
        sound = tone(4)
        write_video(root / "videos" / f"{scene}.mp4", film(scene, 4), sound=sound)
        Image.fromarray(still(scene)).save(root / "seeds" / f"{scene}.png")
        rows.append(f"seeds/{scene}.png,the scene number {scene}")
    (root / "seeds.csv").write_text("\n".join(rows) + "\n")
    vectors = np.random.default_rng(0).standard_normal((20_480, 16), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(root / "vectors.npy", vectors)
    (root / "ids.txt").write_text("".join(f"{i}\n" for i in range(len(vectors))))


COMMANDS = {
    "mine": "mine --seeds=seeds.csv --videos=videos --output=run --clip_s=2",
    "index build": "index build --seeds=seeds.csv --embedder=descriptor --output=few",
    "index build, ScaNN": "index build --embeddings=vectors.npy --ids=ids.txt"
    " --embedder_id=made --threshold=0.7 --output=many",
    "train": "train tiny.py --data=run --output=model",
    "index-clips": "index-clips run --model=model --output=clips",
    "evaluate": "evaluate model --data=run --output=figures.json",
    "search": "search scene --index=clips",
    "demo": "demo --output=demo",
}
# The demo's half a minute is CI's; it mines and draws as the commands before it do.
CASES = [
    pytest.param(name, marks=[pytest.mark.ci_only] if name == "demo" else [])
    for name in COMMANDS
]


def stderr_of(command: str, root: Path, terminal: bool) -> str:
    """Run a command as a user would; return what it wrote on stderr."""
    read, write = pty.openpty() if terminal else os.pipe()
    tools = root / "bin"
    environment = {"PATH": str(tools), "HOME": str(root), "TMPDIR": str(root)}
    environment["XLA_FLAGS"] = QUICK_COMPILER
    pieces: list[bytes] = []

    def drain() -> None:
        try:
            while piece := os.read(read, 65_536):
                pieces.append(piece)
        except OSError:  # How a terminal says that nobody writes to it any more.
            pass

    reader = threading.Thread(target=drain)
    reader.start()
    done = subprocess.run(
        [sys.executable, "-m", "beam_pipeline.cli", *command.split()],
        cwd=root,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=write,
        check=False,
    )
    os.close(write)
    reader.join()
    os.close(read)
    said = b"".join(pieces).decode()
    assert done.returncode == 0, said
    return said.replace("\r\n", "\n")


class Session:
    """Commands in a row, each run once, when its words or its results are needed."""

    def __init__(self, root: Path, terminal: bool) -> None:
        self.expected = ON_A_TERMINAL if terminal else EXPECTED
        self._root, self._terminal = root, terminal
        self._written: dict[str, str] = {}

    def written(self, wanted: str) -> str:
        """Return what a command wrote on stderr; those before it have run as well."""
        for name, line in COMMANDS.items():
            if name not in self._written:
                text = stderr_of(line, self._root, self._terminal)
                self._written[name] = without_moves(text)
            if name == wanted:
                break
        return self._written[wanted]


@pytest.fixture(
    scope="module", params=["pipe", pytest.param("terminal", marks=pytest.mark.ci_only)]
)
def session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Session:
    root = tmp_path_factory.mktemp(request.param)
    (root / "bin").mkdir()
    write_corpus(root)
    write_config(root / "tiny.py")
    return Session(root, terminal=request.param == "terminal")


def without_moves(text: str) -> str:
    """Return a terminal's text without colors and movements of the cursor."""
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|\r", "", text)


@pytest.mark.parametrize("command", CASES)
def test_a_command_writes_only_its_own_lines(command: str, session: Session) -> None:
    written = session.written(command)
    assert re.fullmatch(session.expected[command], written), written
