"""Video files: exact frames out of them and H.264 into them. The only module that touches PyAV."""

import hashlib
import logging
from array import array
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, dropwhile
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from undertow.base import VideoError
from undertow.video.frames import NOMINAL_FPS, RGB, check_same_size
from undertow.video.source import Source
from undertow.video.timeline import Start, Timeline

log = logging.getLogger(__name__)

# FFmpeg also "plays" text files and follows playlists to other files; only real containers are let in, from disk only.
_OPTIONS = {
    "format_whitelist": "mov,matroska,gif,avi,mpegts,mpeg,flv,ogg,asf,mxf,ivf,yuv4mpegpipe,h264,hevc,mjpeg,apng,"
    "wav,mp3,flac,aac",
    "protocol_whitelist": "file",
}
# swscale's SWS_BILINEAR, FULL_CHR_H_INT, ACCURATE_RND and BITEXACT, which PyAV names from version 18 on. Without them,
# fast paths lose more than a grey level on average (measured against the formula) and differ between processors.
_EXACT = 0x2 | 0x2000 | 0x40000 | 0x80000
# Up to this many frames that nobody wants are decoded rather than jumped over.
_WORTH_A_SEEK = 16
# Seconds by which a file may fall short of the duration in its header.
_MISSED = Fraction(1, 4)
# ITU-T H.273 code for BT.709, as primaries, transfer and matrix; and that for limited range.
_BT709, _LIMITED = 1, 1


class VideoFile(Source):
    """The frames of a video file by number, each exactly the one that playing from the start would show.

    The first use of a frame number reads through the file once without decoding, for the stamps of all packets. Then
    frames that follow one another are decoded in one go; any other is found by going to the keyframe at or before it
    and decoding on until its stamp comes out. Should a container lead elsewhere, an earlier keyframe is tried, and in
    the end the beginning of the file.

    Colours follow the file's tags, and BT.601 without tags, as in FFmpeg. More than 8 bits are rounded to 8. Pixels
    that are not square stay as stored.

    Attributes:
        seeks: how many times reading jumped; 0 after reading from start to end.
    """

    def __init__(self, path: Path):
        """Opens a file and decodes its first frame, which tells the size after rotation.

        Raises:
            VideoError: if the file is not a video or nothing in it can be decoded.
        """
        self.label = f"'{path}'"
        self.seeks = 0
        self._path = path
        self._timeline: Timeline | None = None
        self._container, self._stream = _open(path)
        self._frames: Iterator[VideoFrame] = iter(())
        self._next = 0
        # One for all frames: setting up a conversion costs more than doing it.
        self._converter = VideoReformatter()
        self._play(_packets(self._container, self._stream), 0)
        self.rate = _rate(self._stream)
        first = next(self._frames, None)
        if first is None:
            self.close()
            raise VideoError(f"{self.label} holds no frame that can be decoded; check the file or convert it again")
        self.height, self.width = _image(first, self._converter).shape[:2]
        self._frames = chain([first], self._frames)

    @property
    def count(self) -> int:
        """Number of frames, counted on first use."""
        return len(self._index())

    def time(self, index: int) -> Fraction:
        """Returns the exact presentation time of frame `index` in seconds, as stored: it may start off zero."""
        return self._index().time(index)

    def read(self, index: int, keep: int) -> list[tuple[int, RGB]]:
        """Returns frame `index`, after a jump together with up to `keep - 1` frames before it; see `Source.read`.

        Raises:
            VideoError: if the frame is damaged or of another size.
        """
        timeline = self._index()
        starts = timeline.starts_before(index)
        nearest = timeline.first_from(starts[0].shown) if starts else 0
        if self._next <= index and nearest - self._next <= _WORTH_A_SEEK and (read := self._forward(index, index)):
            return read
        for start in (*starts, None):
            if self._jump(start):
                read = self._forward(index, index - keep + 1)
                if read and read[-1][0] == index:
                    return read
        if self._next > index:
            raise VideoError(f"frame {index} of {self.label} is damaged; re-encode the file, or start after that frame")
        log.warning("%s ends early: only %d of its %d frames can be decoded", self.label, self._next, len(timeline))
        self._timeline = timeline.cut(self._next)
        return []

    def fingerprint(self) -> str:
        """Returns the SHA-256 of the file's bytes."""
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def close(self) -> None:
        """Closes the file."""
        self._frames = iter(())
        self._container.close()

    def _index(self) -> Timeline:
        if self._timeline is None:
            self._timeline = _scan(self._path)
        return self._timeline

    def _forward(self, index: int, first: int) -> list[tuple[int, RGB]]:
        """Decodes on until frame `index` has come out; returns those of frames `first` to `index` that came."""
        read = []
        for frame in self._frames:
            number = self._number(frame)
            if number is None:
                continue
            self._next = number + 1
            if first <= number <= index:
                image = _image(frame, self._converter)
                check_same_size(image, self.height, self.width, f"frame {number} of {self.label}")
                read.append((number, image))
            if number >= index:
                break
        return read

    def _number(self, frame: VideoFrame) -> int | None:
        """Returns which frame has been decoded; `None` if it is not to be shown.

        In an open group of pictures, what is shown before the keyframe comes out broken when decoding begins there.
        """
        timeline = self._index()
        number = timeline.number(frame.pts) if timeline.timed else self._next
        return None if number is None or number < self._next else number

    def _jump(self, start: Start | None) -> bool:
        """Makes decoding go on at a keyframe, or at the beginning of the file for `None`; returns whether it does."""
        self.seeks += 1
        if start is not None:
            return self._seek(start)
        # Opening the file again works for every container, also where seeking does not.
        self._container.close()
        self._container, self._stream = _open(self._path)
        self._play(_packets(self._container, self._stream), 0)
        return True

    def _seek(self, start: Start) -> bool:
        """Returns whether decoding now goes on at this keyframe, or at an earlier one, which serves as well."""
        timeline = self._index()
        # Most containers look a keyframe up by when it is shown, but mpeg-ts by when it is decoded.
        for stamp in (start.shown, start.sent):
            try:
                self._container.seek(stamp, stream=self._stream)
            except FFmpegError:
                return False
            packets = dropwhile(lambda packet: not packet.is_keyframe, _packets(self._container, self._stream))
            key = next(packets, None)
            # Where a container has no index, a seek may land within a packet, and the parser makes up stamps.
            if key is None or key.pts is None or key.pts > start.shown or not timeline.has_start(key.pts, key.size):
                continue
            self._play(chain([key], packets), timeline.first_from(key.pts))
            # A stream may refresh its picture bit by bit: then a "keyframe" does not come out, nor right what follows.
            first = next((frame for frame in self._frames if self._number(frame) is not None), None)
            if first is not None and self._number(first) == self._next:
                self._frames = chain([first], self._frames)
                return True
        return False

    def _play(self, packets: Iterator["Packet[Stream]"], number: int) -> None:
        """Makes decoding go on with these packets, of which frame `number` is the first that comes out whole."""
        self._frames, self._next = _decode(packets, self._stream), number


class H264File:
    """An mp4 or mov file being written, that plays everywhere: H.264, yuv420p, BT.709, index before the pictures."""

    def __init__(self, path: Path, width: int, height: int, rate: Fraction, tick: Fraction):
        """Starts a file of even `width` and `height` whose time stamps count `tick` seconds."""
        # `faststart` puts the index (moov) in front, so that browsers can begin before they have the whole file.
        self._container = av.open(str(path.absolute()), "w", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "medium"})
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._stream.time_base = tick
        # Without tags, players guess the matrix from the picture's height, and colours shift.
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED
        self._converter = VideoReformatter()
        self._tick = tick
        self._duration = max(1, round(1 / (rate * tick)))

    def write(self, image: RGB, stamp: int) -> None:
        """Adds a frame, shown from tick `stamp` on."""
        frame = self._converter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=_EXACT,
        )
        frame.pts, frame.time_base, frame.duration = stamp, self._tick, self._duration
        self._container.mux(self._stream.encode(frame))

    def close(self, *, finish: bool) -> None:
        """Closes the file, first writing what the encoder still holds if it is to be complete."""
        if finish:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    """Returns an open file and its video stream; a cover picture of a sound file is none."""
    try:
        container = av.open(str(path.absolute()), options=_OPTIONS, metadata_errors="ignore")
    except (FFmpegError, OSError) as error:
        raise VideoError(
            f"'{path}' is not a video that can be read ({error.strerror}); give an mp4, mov, webm, mkv or gif"
        ) from error
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            if not stream.codec_context:
                container.close()
                raise VideoError(f"'{path}' has a video format that cannot be decoded; convert it to H.264")
            # Not by frame: then an error would surface frames later, and take good ones with it.
            stream.thread_type = "SLICE"
            return container, stream
    found = "only sound" if container.streams.audio else "no picture"
    container.close()
    raise VideoError(f"'{path}' holds {found}; give a video")


def _scan(path: Path) -> Timeline:
    """Returns the timeline of a file by reading all its packets; only where these have no stamps it is decoded."""
    container, stream = _open(path)
    with container:
        codec = stream.codec_context
        if container.format.name == "avi" and codec.has_b_frames:
            return _scan_by_decoding(path)
        shown, starts, torn, end = array("q"), list[Start](), False, Fraction(0)
        for packet in _packets(container):
            if packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream_index != stream.index:
                continue
            if packet.pts is None:
                return _scan_by_decoding(path)
            if packet.is_keyframe:
                starts.append(Start(packet.pts, packet.pts if packet.dts is None else packet.dts, packet.size))
            # An edit list hides packets that only serve to decode others, and so does VP8 (bit 4: show_frame).
            visible = not packet.is_discard and not (codec.name == "vp8" and not bytes(packet)[0] & 0x10)
            if visible:
                shown.append(packet.pts)
            # The file may end within the last packet; a whole one of a gif ends in a terminator or the trailer.
            torn = visible and (packet.is_corrupt or (codec.name == "gif" and bytes(packet)[-1] not in b"\x00;"))
        if torn:
            shown.pop()
        timeline = Timeline.of(shown, starts, Fraction(stream.time_base or 1))
        if not timeline:
            raise VideoError(f"'{path}' holds no whole frame; check the file or convert it again")
        if left_out := len(shown) - len(timeline):
            log.warning("'%s': %d frames left out, undecodable or at the same time as another", path, left_out)
        # Headers err, so a promise that is not kept is worth a warning and no more.
        if torn or Fraction(container.duration or 0, av.time_base) - end > _MISSED:
            log.warning("'%s' seems to be cut short; going on with the %d frames it has", path, len(timeline))
        return timeline


def _scan_by_decoding(path: Path) -> Timeline:
    """Returns the timeline of a file without time stamps, such as a bare stream or an avi with B-frames."""
    container, stream = _open(path)
    with container:
        count = sum(1 for _ in _decode(_packets(container, stream), stream))
        return Timeline.untimed(count, _rate(stream) or NOMINAL_FPS)


def _packets(container: InputContainer, *streams: VideoStream) -> Iterator["Packet[Stream]"]:
    """Yields the packets of some or all streams, up to where the file can be read."""
    try:
        for packet in container.demux(*streams):
            if packet.size:
                yield packet
    except FFmpegError as error:
        log.debug("reading stopped: %s", error)


def _decode(packets: Iterable["Packet[Stream]"], stream: VideoStream) -> Iterator[VideoFrame]:
    """Yields the frames of some packets in the order shown; packets that cannot be decoded give none."""
    for packet in chain(packets, [None]):
        try:
            frames = stream.decode(packet)
        except FFmpegError as error:
            log.debug("a packet could not be decoded: %s", error)
        else:
            yield from frames


def _rate(stream: VideoStream) -> Fraction | None:
    """Returns the mean frame rate the container tells, exactly."""
    rate = stream.average_rate or stream.guessed_rate
    return Fraction(rate.numerator, rate.denominator) if rate else None


def _image(frame: VideoFrame, converter: VideoReformatter) -> RGB:
    """Returns a decoded frame as RGB, turned and mirrored the way its display matrix says."""
    image = converter.reformat(frame, format="rgb24", interpolation=_EXACT).to_ndarray()
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return image
    # A pixel (x, y) of the stored picture is shown at (a*x + c*y, b*x + d*y), in 16.16 fixed point.
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        image, a, d = image.swapaxes(0, 1), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
