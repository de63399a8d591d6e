import av
import pytest

from undertow.video.container import CodecSupport, codecs


def test_all_are_named():
    assert list(codecs()) == ["h264", "hevc", "vp9", "av1", "prores", "ffv1", "mjpeg"]
    # What the tests of this folder write and read.
    assert codecs()["h264"] == codecs()["ffv1"] == codecs()["mjpeg"] == CodecSupport(decode=True, encode=True)


@pytest.mark.parametrize(
    ("name", "encoder", "pixels"),
    [("av1", "libsvtav1", "yuv420p"), ("prores", "prores_ks", "yuv422p10le"), ("vp9", "libvpx-vp9", "yuv420p")],
)
def test_what_is_said_to_work_works(clips, name, encoder, pixels):
    if codecs()[name] != CodecSupport(decode=True, encode=True) or encoder not in av.codecs_available:
        pytest.skip(f"{name} cannot be both written and read here")
    path = clips.make("film.mkv", 3, codec=encoder, pixels=pixels)
    with av.open(str(path)) as container:
        assert [clips.number_in(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)] == [0, 1, 2]
