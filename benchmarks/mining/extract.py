"""Extract the frames of videos as the mining job does, and nothing else.

python -m benchmarks.mining.extract exact FILE ...
"""

import sys

from models.pretrained.resizing import squeeze
from transforms.media.sample_frames import Frame, SamplingConfig, extract_frames

_RESIZING = squeeze(224)


def main() -> None:
    """Print how many frames there were."""
    mode, *paths = sys.argv[1:]
    config = SamplingConfig(1.0, mode, _RESIZING, 120.0, 600.0)
    items = (item for path in paths for item in extract_frames(path, 0, 2**62, config))
    print(sum(isinstance(item, Frame) for item in items))


if __name__ == "__main__":
    main()
