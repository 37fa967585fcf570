"""Films of the synthetic world: a sequence of scenes as H.264 and AAC.

write_film(Path("a.mp4"), [(scene, 8), (other, 10)], Camera(), seed=0)
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
# rows whose length is not a multiple of 16), so uninitialized memory decides on bits.
X264 = {
    "preset": "veryfast",
    "crf": "25",
    "bf": "0",
    "x264-params": "cpu-independent=1",
}


@dataclass(frozen=True, kw_only=True)
class Camera:
    """How scenes are filmed.

    Attributes:
        height: of the frames, in pixels.
        width: of the frames, in pixels.
        fps: frames per second.
        rate: audio samples per second.
        zoom: magnification of the objects.
    """

    height: int = 240
    width: int = 320
    fps: int = 25
    rate: int = 32_000
    zoom: float = 1.0

    def frame(self, scene: Scene, t_s: float, seed: int) -> np.ndarray:
        """Draw one instant of a scene: uint8 [height, width, 3], RGB."""
        return draw(scene, t_s, self.height, self.width, seed, self.zoom)


def write_film(
    path: Path,
    cast: list[tuple[Scene, int]],
    camera: Camera,
    seed: int,
    track: Track = "scenes",
) -> None:
    """Encode scenes to an MP4 with its header first.

    The same arguments yield the same bytes.

    Args:
        path: of the file, which is replaced.
        cast: scenes and their lengths in whole seconds.
        camera: how they are filmed.
        seed: see `draw`.
        track: the sound: that of the scenes, silence, or no track.
    """
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream(
            "libx264", rate=camera.fps, options={**X264, "g": str(2 * camera.fps)}
        )
        video.width, video.height, video.pix_fmt = (
            camera.width,
            camera.height,
            "yuv420p",
        )
        video.thread_count = 1  # The bytes depend on the number of threads.
        audio = None
        if track != "none":
            audio = container.add_stream("aac", rate=camera.rate, layout="mono")
            audio.bit_rate = 48_000
        for scene, seconds in cast:
            wave = sound(scene, seconds * camera.rate, camera.rate, seed)
            wave *= track == "scenes"
            for second in range(seconds):  # Interleave pictures and sound.
                for k in range(camera.fps):
                    image = camera.frame(scene, second + k / camera.fps, seed)
                    container.mux(video.encode(_video_frame(image)))
                if audio:
                    heard = wave[
                        None, second * camera.rate : (second + 1) * camera.rate
                    ]
                    container.mux(audio.encode(_audio_frame(heard, camera.rate)))
        container.mux(video.encode(None))
        if audio:
            container.mux(audio.encode(None))


def cut_off(path: Path, frame: int) -> None:
    """Truncate a film within a frame; its header still describes the whole film."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        ends = [each.pos + each.size // 2 for each in packets if each.pos is not None]
    path.write_bytes(path.read_bytes()[: ends[frame]])


def _video_frame(image: np.ndarray) -> av.VideoFrame:
    """Wrap uint8 [h, w, 3], RGB, for the encoder."""
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    # The encoder would convert with as many threads as there are cores, so that the
    # slices, and with them the bytes, would depend on the machine.
    return frame.reformat(format="yuv420p", threads=1)


def _audio_frame(wave: np.ndarray, rate: int) -> av.AudioFrame:
    """Wrap float32 [1, n] for the encoder."""
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate = rate
    return frame
