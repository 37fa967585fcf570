"""The keys of a clip's record, shared by everything that writes or reads one.

The keys are those that the readers of Scenic and DMVR parse (reference: DMVR
`generate_from_file.py` and `modalities.py`); where a clip comes from is kept in
context keys of our own.
"""

LAYOUT_VERSION = 1

# --- context -------------------------------------------------------------------------

VERSION = "clip/layout_version"
CLIP_ID = "clip/id"
START = "clip/start/timestamp"
END = "clip/end/timestamp"
MATCHED_TIMES = "clip/matched/timestamp"
# Scenic's reader for MBT always parses labels: these lists are there and empty.
LABEL_INDEX = "clip/label/index"
LABEL_TEXT = "clip/label/text"
VIDEO_ID = "videoid"
VIDEO = "video/filename"
VIDEO_DURATION = "video/duration"
FPS = "image/fps"
HEIGHT = "image/height"
WIDTH = "image/width"
SOUND_VERDICT = "sound/verdict"
SAMPLE_RATE = "WAVEFORM/sample_rate"
MEL_FRAME_COUNT = "melspec/frame_count"
EMBEDDER = "embedder"
# Parallel lists, one entry per caption.
CAPTION = "caption/string"
CAPTION_SOURCE = "caption/source"  # left out where all captions are transferred
SEED_ID = "seed/id"
SEED_IMAGE = "seed/image"
SIMILARITY = "match/similarity"
RANK = "match/rank"
TIME = "match/time"

# --- feature lists -------------------------------------------------------------------

IMAGE = "image/encoded"
WAVEFORM = "WAVEFORM/feature/floats"
MEL_SPECTROGRAM = "melspec/feature/floats"

# --- log-mel spectrogram -------------------------------------------------------------

MEL_BINS = 128
MEL_FRAMES_PER_S = 100
# Added to the mel magnitudes before the logarithm; silence is its logarithm. It is half
# of what white noise of -60 dBFS (below which sound counts as silent) has in the lowest
# bins, so that the logarithm does not amplify what is inaudible.
LOG_OFFSET = 0.01
