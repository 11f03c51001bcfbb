"""Pixels in and out: colours against the standards' formulas, orientation, counts, and identical bytes."""

from __future__ import annotations

import gc
import json
import os
import struct
import subprocess
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lps_sim.errors import UnknownNameError
from lps_sim.files import sha256_file
from lps_sim.media import (
    EncoderSettings,
    MediaError,
    VideoWriter,
    iter_frames,
    iter_pictures,
    probe,
    read_frames,
    read_video,
    write_video,
)

# Decoding rounds once to 8 bits; swscale's 14-bit coefficients add a little.
HALF_CODE = 0.52
# swscale takes 1020 and not 1023 for the peak of full-range 10-bit video: 0.75 of a code too bright at white.
FULL_10_BIT_CODES = HALF_CODE + 255 * (1023 / 1020 - 1)
# 8-bit limited-range YUV in between: half a step of Y (255/219) and of V (1.58 x 255/224), then rounding to RGB.
LOSSLESS_YUV_CODES = 2
# x264 at CRF 4 on smooth content, on top of the above.
NEAR_LOSSLESS_CODES = 4
# A frame's mean: MPEG-4 part 2 codes a block's mean in steps of a whole code, in YUV.
MEAN_CODES = 0.75

WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "smpte170m": (0.299, 0.114),
    "bt470bg": (0.299, 0.114),
    "bt2020nc": (0.2627, 0.0593),
}
TAGS = {"bt709": 1, "unspecified": 2, "bt470bg": 5, "smpte170m": 6, "bt2020nc": 9}


def rgb_of_yuv(y: np.ndarray, u: np.ndarray, v: np.ndarray, matrix: str, full: bool, bits: int) -> np.ndarray:
    """ITU-T H.273, equations 28-33 and 41-46: stored YUV codes -> RGB on a scale of 0..255, unrounded."""
    k_r, k_b = WEIGHTS[matrix]
    unit = 2.0 ** (bits - 8)
    y, u, v = y / unit, u / unit, v / unit
    peak = (2.0**bits - 1) / unit
    luma = y / peak if full else (y - 16) / 219
    c_b, c_r = ((u - 128) / peak, (v - 128) / peak) if full else ((u - 128) / 224, (v - 128) / 224)
    red, blue = luma + 2 * (1 - k_r) * c_r, luma + 2 * (1 - k_b) * c_b
    green = (luma - k_r * red - k_b * blue) / (1 - k_r - k_b)
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 1) * 255


def write_yuv(path: Path, planes: list[np.ndarray], pixel_format: str, tag: int, full: bool, transfer: int = 2) -> None:
    """One frame of given YUV codes, stored without loss (FFV1 in Matroska) and tagged as asked."""
    height, width = planes[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, codes in zip(frame.planes, planes):
        rows = np.zeros((plane.height, plane.line_size // codes.itemsize), dtype=codes.dtype)
        rows[:, : codes.shape[1]] = codes
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_range = tag, 2 if full else 1
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, options={"level": "3"})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.colorspace = tag
        stream.codec_context.color_range = 2 if full else 1
        stream.codec_context.color_trc = transfer
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_plain(path: Path, frames: np.ndarray, times_ms: list[int] | None = None) -> None:
    """H.264 with what the product's writer never makes: uneven times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv444p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.time_base, frame.pts = Fraction(1, 1000), times_ms[index] if times_ms else 40 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """12 frames 48x64 of colours that change slowly in space and move."""
    t, y, x = np.meshgrid(np.arange(12), np.arange(48), np.arange(64), indexing="ij")
    waves = [np.sin((x + 2 * t) / 19), np.sin((y - t) / 17), np.cos((x + y + t) / 23)]
    return np.rint(128 + 90 * np.stack(waves, axis=-1)).astype(np.uint8)


@pytest.mark.parametrize("matrix", sorted(WEIGHTS))
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p", "yuv422p", "yuv420p10le"])
def test_decoded_colours_meet_the_standards_formula(tmp_path, matrix: str, full: bool, pixel_format: str) -> None:
    rng = np.random.default_rng(5)
    bits = 10 if "10" in pixel_format else 8
    dtype, unit = (np.uint16, 4) if bits == 10 else (np.uint8, 1)
    luma = rng.integers(0, 256 * unit, (64, 64)).astype(dtype)
    # Colour is constant, so that every subsampling stores the same picture.
    u, v = (int(c) * unit for c in rng.integers(70, 190, 2))
    chroma_shape = {"yuv444p": (64, 64), "yuv422p": (64, 32)}.get(pixel_format, (32, 32))
    planes = [luma, np.full(chroma_shape, u, dtype), np.full(chroma_shape, v, dtype)]
    path = tmp_path / "colours.mkv"
    write_yuv(path, planes, pixel_format, TAGS[matrix], full)
    (frame,) = iter_frames(path)
    expected = rgb_of_yuv(
        luma.astype(float), np.full_like(luma, u, float), np.full_like(luma, v, float), matrix, full, bits
    )
    assert np.abs(frame - expected).max() <= (FULL_10_BIT_CODES if full and bits == 10 else HALF_CODE)
    info = probe(path)
    assert (info.color_matrix, info.color_range, info.color_tagged) == (matrix, "full" if full else "limited", True)


@pytest.mark.parametrize(
    ("size", "guess"), [((720, 576), "smpte170m"), ((1280, 720), "bt709"), ((1920, 1080), "bt709")]
)
def test_untagged_colours_are_guessed_by_size_as_players_do(tmp_path, size: tuple[int, int], guess: str) -> None:
    width, height = size
    planes = [np.full((height, width), c, np.uint8) for c in (120, 90, 170)]
    path = tmp_path / "untagged.mkv"
    write_yuv(path, planes, "yuv444p", TAGS["unspecified"], full=False)
    (frame,) = iter_frames(path)
    expected = rgb_of_yuv(*(np.asarray(float(c)) for c in (120, 90, 170)), guess, False, 8)
    assert np.abs(frame[5, 5] - expected).max() <= HALF_CODE
    info = probe(path)
    assert (info.color_matrix, info.color_tagged) == (guess, False)


def test_hdr_is_reported(tmp_path) -> None:
    planes = [np.full((32, 32), 400, np.uint16), *(np.full((16, 16), 512, np.uint16) for _ in range(2))]
    write_yuv(tmp_path / "pq.mkv", planes, "yuv420p10le", TAGS["bt2020nc"], full=False, transfer=16)
    info = probe(tmp_path / "pq.mkv")
    assert (info.transfer, info.hdr, info.pixel_format) == ("pq", True, "yuv420p10le")


def test_bytes_do_not_depend_on_what_memory_held_before(tmp_path) -> None:
    script = (
        "import numpy, sys; from lps_sim.media import *; rng = numpy.random.default_rng(0);"
        "frames = rng.integers(100, 104, (24, 72, 72, 3), dtype=numpy.uint8);"
        "write_video(sys.argv[1], frames, 25, EncoderSettings(pixel_format='yuv420p', crf=14))"
    )
    hashes = set()
    for fill in ("0", "77", "200"):
        path = tmp_path / f"{fill}.mp4"
        # glibc fills fresh and freed memory with this byte; elsewhere the test asks less.
        environment = {**os.environ, "MALLOC_PERTURB_": fill}
        subprocess.run([sys.executable, "-c", script, str(path)], env=environment, check=True)
        hashes.add(sha256_file(path))
    assert len(hashes) == 1


def test_lossless_encoding_keeps_every_grey_and_colour_to_yuv_rounding(tmp_path) -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(16, axis=0)
    colours = np.random.default_rng(2).integers(0, 256, (16, 256, 3), dtype=np.uint8)
    frames = np.stack([ramp, colours])
    settings = EncoderSettings(crf=0, pixel_format="yuv444p")
    write_video(tmp_path / "lossless.mp4", frames, 25, settings)
    back, _ = read_video(tmp_path / "lossless.mp4")
    error = back.astype(int) - frames
    assert np.abs(error).max() <= LOSSLESS_YUV_CODES
    assert np.abs(error[0]).max() <= 1
    assert abs(error.mean()) < 0.05


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a.mp4", EncoderSettings(crf=4)),
        ("f.mov", EncoderSettings(crf=4, pixel_format="yuv420p")),
        ("b.mkv", EncoderSettings("libx265", crf=4, preset="ultrafast")),
        ("c.webm", EncoderSettings("libvpx-vp9", crf=4, pixel_format="yuv420p")),
        ("d.avi", EncoderSettings("mpeg4", crf=1, pixel_format="yuv420p")),
        ("e.mkv", EncoderSettings("ffv1", pixel_format="yuv444p")),
    ],
    ids=lambda value: value.codec if isinstance(value, EncoderSettings) else "",
)
def test_every_codec_gives_back_number_rate_and_colours(tmp_path, smooth, name: str, settings: EncoderSettings) -> None:
    path = tmp_path / name
    assert write_video(path, smooth, Fraction(30000, 1001), settings) == len(smooth)
    back, info = read_video(path)
    assert back.shape == smooth.shape
    assert (info.frames, info.fps, info.variable_rate) == (len(smooth), Fraction(30000, 1001), False)
    assert np.abs(back.astype(float) - smooth).mean() < NEAR_LOSSLESS_CODES / 2
    assert np.abs((back.astype(float) - smooth).mean((0, 1, 2))).max() < MEAN_CODES
    assert list(tmp_path.iterdir()) == [path]


def test_colour_tags_stand_in_the_stream(tmp_path, smooth) -> None:
    write_video(tmp_path / "tagged.mp4", smooth, 25)
    with av.open(str(tmp_path / "tagged.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
    info = probe(tmp_path / "tagged.mp4")
    assert (info.color_matrix, info.color_range, info.transfer, info.color_tagged) == (
        "bt709",
        "limited",
        "bt709",
        True,
    )


def test_half_resolution_colour_stays_in_place(tmp_path) -> None:
    x = np.arange(128)
    bump = np.exp(-((x - 60.0) ** 2) / 200)
    row = np.stack([128 + 80 * bump, 128 - 24 * bump, np.full(128, 128.0)], axis=-1)
    frame = np.rint(np.broadcast_to(row, (64, 128, 3))).astype(np.uint8)
    write_video(tmp_path / "chroma.mp4", [frame] * 3, 25, EncoderSettings(crf=2))
    back = next(iter_frames(tmp_path / "chroma.mp4"))
    difference = back[32, :, 0].astype(float) - back[32, :, 1]
    # Without the siting tag the centroid moves by 0.6 px.
    assert (difference * x).sum() / difference.sum() == pytest.approx(60.0, abs=0.15)


def test_default_settings_keep_a_sharp_low_contrast_veil_where_coarse_ones_do_not(tmp_path) -> None:
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:96, :128]
    veil = np.where((x // 8 + y // 8) % 2, 1.0, -1.0)  # a faint sharp chequerboard, one code value up and down
    truth = 110 + 0.2 * (x - 64) + veil
    noisy = truth[None, :, :, None] + rng.normal(0, 0.6, (24, 96, 128, 3))
    frames = np.rint(noisy).astype(np.uint8)

    def kept(settings: EncoderSettings) -> float:
        write_video(tmp_path / "veil.mp4", frames, 25, settings)
        back, _ = read_video(tmp_path / "veil.mp4")
        return float(((back.mean(axis=(0, 3)) - back.mean()) * veil).sum() / (veil**2).sum())

    assert kept(EncoderSettings()) > 0.98
    assert kept(EncoderSettings(pixel_format="yuv420p", crf=28, tune="")) < 0.9


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4"])
def test_same_frames_give_the_same_bytes(tmp_path, smooth, codec: str) -> None:
    settings = EncoderSettings(codec, crf=14, preset="ultrafast", pixel_format="yuv420p")
    hashes = set()
    for name in ("first.mkv", "second.mkv"):
        write_video(tmp_path / name, smooth, 25, settings)
        hashes.add(sha256_file(tmp_path / name))
    write_video(tmp_path / "other.mkv", smooth[::-1], 25, settings)
    assert len(hashes) == 1
    assert sha256_file(tmp_path / "other.mkv") not in hashes


def set_display_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Overwrite the matrix in an MP4 track header (ISO/IEC 14496-12, 8.3.2): (x, y) -> (ax + cy, bx + dy)."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start : start + 20] = struct.pack(">5i", a << 16, b << 16, 0, c << 16, d << 16)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "turn_deg", "upright"),
    [
        ((0, 1, -1, 0), 90, lambda clip: np.rot90(clip, -1, axes=(1, 2))),
        ((-1, 0, 0, -1), 180, lambda clip: clip[:, ::-1, ::-1]),
        ((0, -1, 1, 0), 270, lambda clip: np.rot90(clip, 1, axes=(1, 2))),
        ((-1, 0, 0, 1), 0, lambda clip: clip[:, :, ::-1]),
        ((1, 0, 0, -1), 0, lambda clip: clip[:, ::-1]),
        ((0, 1, 1, 0), 0, lambda clip: clip.transpose(0, 2, 1, 3)),
    ],
    ids=["90", "180", "270", "mirrored", "upside down", "transposed"],
)
def test_frames_come_upright(tmp_path, smooth, matrix: tuple[int, int, int, int], turn_deg: int, upright) -> None:
    path = tmp_path / "turned.mp4"
    write_plain(path, smooth)
    set_display_matrix(path, *matrix)
    expected = upright(smooth)
    back, info = read_video(path)
    assert back.shape == expected.shape
    assert np.abs(back.astype(int) - expected).max() <= NEAR_LOSSLESS_CODES + LOSSLESS_YUV_CODES
    assert (info.width, info.height, info.rotation_deg) == (*expected.shape[2:0:-1], turn_deg)


def test_variable_frame_rate_is_reported_and_frames_are_kept_as_they_are(tmp_path, smooth) -> None:
    times = [0, 40, 80, 200, 240, 280, 320, 500, 540, 580, 620, 660]
    write_plain(tmp_path / "variable.mp4", smooth, times_ms=times)
    assert probe(tmp_path / "variable.mp4").variable_rate
    assert probe(tmp_path / "variable.mp4", count=True).variable_rate
    assert len(list(iter_frames(tmp_path / "variable.mp4"))) == len(times)


def test_real_clips_are_what_they_are_known_to_be(bikes_path: Path, carphone_path: Path) -> None:
    street = probe(bikes_path, count=True)
    assert (street.width, street.height, street.frames, street.fps, street.codec) == (640, 272, 250, 25, "h264")
    assert (street.variable_rate, street.rotation_deg, street.hdr) == (False, 0, False)
    car = probe(carphone_path)
    assert (car.width, car.height) == (176, 144)
    assert json.loads(json.dumps(street.to_dict()))["fps"] == "25"


def test_chosen_frames_are_those_of_the_whole_video(carphone_path: Path) -> None:
    frames, info = read_video(carphone_path)
    assert len(frames) == info.frames == probe(carphone_path, count=True).frames
    chosen = [30, 2, 2, 117]
    assert np.array_equal(read_frames(carphone_path, chosen), frames[chosen])
    for wrong in ([0, len(frames)], [-1], []):
        with pytest.raises(IndexError):
            read_frames(carphone_path, wrong)


@pytest.mark.parametrize(("threads", "thread_type"), [(0, "FRAME"), (3, "FRAME"), (2, "NONE")])
def test_threads_change_nothing(carphone_path: Path, threads: int, thread_type: str) -> None:
    for one, several in zip(iter_frames(carphone_path), iter_frames(carphone_path, threads, thread_type), strict=True):
        assert np.array_equal(one, several)


def test_iterating_holds_a_few_frames_only(bikes_path: Path) -> None:
    frame_bytes = 640 * 272 * 3
    tracemalloc.start()
    for index, _ in enumerate(iter_frames(bikes_path)):
        if index == 60:
            break
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * frame_bytes


def test_any_iterable_can_be_written_and_an_older_file_is_replaced(tmp_path, smooth) -> None:
    path = tmp_path / "sub" / "clip.mp4"
    write_video(path, smooth[:2], 25)
    assert write_video(path, (frame for frame in smooth), 25) == len(smooth)
    assert probe(path, count=True).frames == len(smooth)


def test_an_interrupted_writer_leaves_the_older_file_and_nothing_else(tmp_path, smooth) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, smooth, 25)
    before = sha256_file(path)

    def interrupted() -> None:
        with VideoWriter(path, 64, 48, 25) as writer:
            writer.write(smooth[0])
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        interrupted()
    assert sha256_file(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_odd_sizes_need_full_colour_resolution(tmp_path, smooth) -> None:
    odd = smooth[:, :47, :63]
    settings = EncoderSettings(pixel_format="yuv420p")
    with pytest.raises(ValueError, match=r"multiple of 2x2 for pixel_format yuv420p, got 63x47; .*yuv444p"):
        write_video(tmp_path / "odd.mp4", odd, 25, settings)
    assert not list(tmp_path.iterdir())
    assert settings.fitting(64, 48) == settings
    write_video(tmp_path / "odd.mp4", odd, 25, settings.fitting(63, 47))
    assert probe(tmp_path / "odd.mp4").width == 63


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codec": "x264"}, "did you mean 'libx264'"),
        ({"crf": 52}, r"crf must be 0..51 for libx264, got 52"),
        ({"codec": "mpeg4", "crf": 0}, r"crf must be 1..31 for mpeg4, got 0"),
        ({"threads": 0}, "threads must be >= 1"),
        ({"gop": 0}, "gop must be >= 1, got 0"),
        ({"pixel_format": "yuvj420p"}, "pixel_format: unknown 'yuvj420p'; did you mean 'yuv420p'"),
    ],
)
def test_wrong_settings_are_refused_with_the_rule(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderSettings(**changes)


def test_wrong_frames_rates_and_names_leave_no_file(tmp_path, smooth) -> None:
    path = tmp_path / "clip.mp4"
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(path, [], 25)
    with pytest.raises(ValueError, match="fps must be above 0"):
        write_video(path, smooth, 0)
    with pytest.raises(ValueError, match=r"uint8 of shape \(48, 64, 3\), got float64"):
        write_video(path, [smooth[0], smooth[0] / 255], 25)
    with pytest.raises(ValueError, match=r"got uint8 of shape \(48, 60, 3\)"):
        write_video(path, [smooth[0], smooth[1, :, :60]], 25)
    with pytest.raises(UnknownNameError, match=r"suffix of the video file: unknown '.mp5'; did you mean '.mp4'"):
        write_video(tmp_path / "clip.mp5", smooth, 25)
    with pytest.raises(ValueError, match="must be one of yuv420p for mpeg4, got yuv420p10le"):
        write_video(path, smooth, 25, EncoderSettings("mpeg4"))
    with pytest.raises(MediaError, match=r"clip\.webm: mpeg4 cannot write yuv420p"):
        write_video(tmp_path / "clip.webm", smooth, 25, EncoderSettings("mpeg4", pixel_format="yuv420p"))
    assert not list(tmp_path.iterdir())


def test_a_decoded_frame_goes_when_its_picture_does_without_the_garbage_collector(tmp_path, smooth) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, np.tile(smooth, (5, 1, 1, 1)), 25, EncoderSettings(pixel_format="yuv420p"))
    gc.collect()
    gc.disable()
    try:
        held = frames = 0
        for picture in iter_pictures(path):
            frames += 1
            # isinstance would wake the lazy objects of other packages, torch's among them.
            held = sum(type(thing) is av.VideoFrame for thing in gc.get_objects())
            del picture
    finally:
        gc.enable()
    # The one at hand, the first, whose orientation was asked for, and what the decoder gives out at once at the end.
    assert 1 <= held <= 6 < frames / 2
