"""Videos of all arms encoded alike, so that a file tells nothing but its pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.codec.context import Flags
from PIL import Image

from vader_bench.config.yamlfile import Fault, raise_faults
from vader_bench.human.config import VideoConfig
from vader_bench.videos import Pictures, Shape, Video

__all__ = ["common_shape", "encode_alike", "spoil"]

_BLIND = {"bf": "0", "sc_threshold": "0"}
"""Frames in the order that they are shown, and a new beginning at set places alone: else x264 chooses both by
the pictures, and the durations and tables of the container tell films of one arm from those of the other."""
_MESSAGES = "6"
"""Kind of H.264 unit that holds the encoder's version and settings."""


def common_shape(shapes: Iterable[tuple[Path, Shape]], wanted: VideoConfig) -> Shape:
    """Return what all videos become: what ``wanted`` says, and else what all of them are.

    Raises:
        UserError: they differ in something that ``wanted`` leaves open, in the ratio of their sides, or are
            too short; every such fault.
    """
    shapes = list(shapes)
    width, height, _, rate = shapes[0][1]
    shape = Shape(
        wanted.width or width - width % 2,
        wanted.height or height - height % 2,
        wanted.frames or int(_resampled(shapes[0][1], wanted)),
        Fraction(wanted.frames_per_second or rate),
    )
    raise_faults("videos", [fault for path, one in shapes for fault in _unfit(path, one, shape, wanted)])
    return shape


def _resampled(one: Shape, wanted: VideoConfig) -> Fraction:
    """Return how many frames ``one`` has at the wanted speed."""
    rate = one.rate if wanted.frames_per_second is None else Fraction(wanted.frames_per_second)
    return one.frames / one.rate * rate


def _unfit(path: Path, one: Shape, shape: Shape, wanted: VideoConfig) -> list[Fault]:
    faults = []
    if wanted.width is None and one.width - one.width % 2 != shape.width:
        faults.append(Fault(str(path), f"is {one.width} wide, others {shape.width}", "set video.width"))
    if wanted.height is None and one.height - one.height % 2 != shape.height:
        faults.append(Fault(str(path), f"is {one.height} high, others {shape.height}", "set video.height"))
    if abs(one.width * shape.height / (one.height * shape.width) - 1) > 0.02 and not faults:
        wrong = f"is {one.width}x{one.height} and would be distorted to {shape.width}x{shape.height}"
        faults.append(Fault(str(path), wrong, "make videos of one shape"))
    if wanted.frames_per_second is None and one.rate != shape.rate:
        wrong = f"has {float(one.rate):g} frames a second, others {float(shape.rate):g}"
        faults.append(Fault(str(path), wrong, "set video.frames_per_second"))
    frames = int(_resampled(one, wanted))
    if frames < shape.frames or (wanted.frames is None and frames != shape.frames):
        wrong = f"has {frames} frames at that speed, not {shape.frames}"
        faults.append(Fault(str(path), wrong, "set video.frames to what all have"))
    return faults


def _fitted(video: Video, shape: Shape) -> Pictures:
    """Return the pictures of ``video`` at ``shape``: at each moment the frame that is shown then."""
    moments = [int(index * video.rate / shape.rate) for index in range(shape.frames)]
    pictures = [video.pictures[moment] for moment in moments]
    size = (shape.width, shape.height)
    if (video.shape.width, video.shape.height) == size:
        return np.stack(pictures)
    scaled = [Image.fromarray(one).resize(size, Image.Resampling.LANCZOS) for one in pictures]
    return np.stack([np.asarray(one, np.uint8) for one in scaled])


def spoil(pictures: Pictures) -> Pictures:
    """Return ``pictures`` heavily degraded: a sixteenth of the detail, four levels of brightness a colour.

    The pictures still move and show the same colours, so that the item looks like the others at first sight.
    """
    height, width = pictures.shape[1:3]
    small = (max(1, width // 16), max(1, height // 16))
    coarse = [Image.fromarray(one).resize(small, Image.Resampling.BOX) for one in pictures]
    blocky = [np.asarray(one.resize((width, height), Image.Resampling.NEAREST)) for one in coarse]
    return (np.stack(blocky) // 64 * 85).astype(np.uint8)


def encode_alike(video: Video, shape: Shape, crf: int, *, spoiled: bool = False) -> bytes:
    """Return ``video`` at ``shape`` as an H.264 (yuv420p) MP4 file that holds nothing else.

    Neither the container nor the stream states a title, a date, or what made it. Now and then x264 was seen
    to write a few other bytes for the same pictures, so two encodings are compared by what they show.

    Args:
        video: the decoded video.
        shape: what all videos of the study share.
        crf: x264's quality, 1 to 51.
        spoiled: make the degraded copy.
    """
    pictures = _fitted(video, shape)
    pictures = spoil(pictures) if spoiled else pictures
    with TemporaryDirectory() as folder:  # the index can be moved to the front of a file on disk only
        path = Path(folder) / "video.mp4"
        _write(path, pictures, shape, crf)
        return path.read_bytes()


def _write(path: Path, pictures: Pictures, shape: Shape, crf: int) -> None:
    options = {"fflags": "+bitexact", "movflags": "+faststart", "write_btrt": "0"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=shape.rate)
        stream.width, stream.height, stream.pix_fmt = shape.width, shape.height, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "slow", "threads": "1", **_BLIND}
        stream.codec_context.flags |= Flags.bitexact
        bare = BitStreamFilterContext(f"filter_units=remove_types={_MESSAGES}", stream)
        for picture in [*_frames(pictures), None]:
            for packet in stream.encode(picture):
                container.mux(bare.filter(packet))
        container.mux(bare.filter(None))


def _frames(pictures: Pictures) -> Sequence[av.VideoFrame]:
    return [av.VideoFrame.from_ndarray(np.ascontiguousarray(one), format="rgb24") for one in pictures]
