"""Where decoding may start: random access points of H.264, H.265 and other codecs."""

from collections.abc import Iterator

import av
import av.video.codeccontext

# A container's keyframe flag is not enough for H.264: recovery points and intra
# pictures of an open GOP carry it too, and frames decoded from there on may be green
# garbage. An IDR picture is always clean (ITU-T H.264, 7.4.1.2.4; H.265, 7.4.2.2).
_H264_IDR = frozenset({5})
# BLA, IDR and CRA pictures: decoders drop the leading pictures that would need more.
_HEVC_RANDOM_ACCESS = frozenset(range(16, 22))


def is_random_access_point(
    packet: av.Packet, codec: av.video.codeccontext.VideoCodecContext
) -> bool:
    """Return whether a decoder can start at `packet` and show all that follows it."""
    if not packet.is_keyframe:
        return False
    if codec.name == "h264":
        return any(h & 0x1F in _H264_IDR for h in _nal_headers(bytes(packet), codec))
    if codec.name == "hevc":
        headers = _nal_headers(bytes(packet), codec)
        return any(h >> 1 & 0x3F in _HEVC_RANDOM_ACCESS for h in headers)
    return True


def _nal_headers(
    data: bytes, codec: av.video.codeccontext.VideoCodecContext
) -> Iterator[int]:
    """Yield the first byte of each NAL unit, length-prefixed (MP4) or Annex B."""
    extradata = codec.extradata or b""
    if not extradata or extradata[0] != 1:
        position = data.find(b"\0\0\1")
        while 0 <= position < len(data) - 3:
            yield data[position + 3]
            position = data.find(b"\0\0\1", position + 3)
        return
    # avcC keeps the prefix's length in byte 4, hvcC in byte 21.
    size = (extradata[4 if codec.name == "h264" else 21] & 3) + 1
    position = 0
    while position + size < len(data):
        yield data[position + size]
        position += size + int.from_bytes(data[position : position + size], "big")
