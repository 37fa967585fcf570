"""Films of the made world: scenes one after another as H.264 and AAC.

write_film(Path("a.mp4"), [(scene, 8), (other, 10)], Reel(), seed=0)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import numpy as np

from beam_pipeline.demo.world import Scene, draw, sound

Track = Literal["scenes", "silent", "none"]

# With cpu-independent, every processor writes the same bytes. Without it, x264 165 on
# AVX-512 also reads the motion of blocks beyond the last one (mbtree_propagate_list, in
# rows whose length is no multiple of 16): whatever memory held there decided on bits.
X264 = {
    "preset": "veryfast",
    "crf": "25",
    "bf": "0",
    "x264-params": "cpu-independent=1",
}


@dataclass(frozen=True, kw_only=True)
class Reel:
    """How scenes are filmed.

    Attributes:
        height: of the frames, in pixels.
        width: likewise.
        fps: frames a second.
        rate: samples of sound a second.
        zoom: how near the camera is to the objects.
    """

    height: int = 240
    width: int = 320
    fps: int = 25
    rate: int = 32_000
    zoom: float = 1.0

    def frame(self, scene: Scene, t_s: float, seed: int) -> np.ndarray:
        """One instant of a scene: uint8 [height, width, 3], RGB."""
        return draw(scene, t_s, self.height, self.width, seed, self.zoom)


def write_film(
    path: Path,
    cast: list[tuple[Scene, int]],
    reel: Reel,
    seed: int,
    track: Track = "scenes",
) -> None:
    """Encode scenes, the header of the file in front.

    Args:
        path: of an MP4; replaced. The same arguments write the same bytes.
        cast: scenes and their lengths in whole seconds.
        reel: how they are filmed.
        seed: see `draw`.
        track: its sound: of the scenes, silence, or no track.
    """
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream(
            "libx264", rate=reel.fps, options={**X264, "g": str(2 * reel.fps)}
        )
        video.width, video.height, video.pix_fmt = reel.width, reel.height, "yuv420p"
        video.thread_count = 1  # the bytes depend on the number of threads
        audio = None
        if track != "none":
            audio = container.add_stream("aac", rate=reel.rate, layout="mono")
            audio.bit_rate = 48_000
        for scene, seconds in cast:
            wave = sound(scene, seconds * reel.rate, reel.rate, seed)
            wave *= track == "scenes"
            for second in range(seconds):  # so that pictures and sound interleave
                for k in range(reel.fps):
                    image = reel.frame(scene, second + k / reel.fps, seed)
                    container.mux(video.encode(_video_frame(image)))
                if audio:
                    heard = wave[None, second * reel.rate : (second + 1) * reel.rate]
                    container.mux(audio.encode(_audio_frame(heard, reel.rate)))
        container.mux(video.encode(None))
        if audio:
            container.mux(audio.encode(None))


def cut_off(path: Path, frame: int) -> None:
    """End a film within a frame, its header still promising all."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        ends = [each.pos + each.size // 2 for each in packets if each.pos is not None]
    path.write_bytes(path.read_bytes()[: ends[frame]])


def _video_frame(image: np.ndarray) -> av.VideoFrame:
    """Wrap uint8 [h, w, 3], RGB, for the encoder."""
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    # The encoder would convert it too, by as many threads as there are cores: other
    # slices, other bytes.
    return frame.reformat(format="yuv420p", threads=1)


def _audio_frame(wave: np.ndarray, rate: int) -> av.AudioFrame:
    """Wrap float32 [1, n] for the encoder."""
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate = rate
    return frame
