"""A decoder's planes, RGB codes and linear light are one picture to a plan."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from lps_sim import Camera, Degrader, FilmModel
from lps_sim.incoming import EOTF_ERROR, EOTF_RELATIVE, Codes, Light, Planes, eotf_polynomial
from lps_sim.media import EncoderSettings, iter_frames, iter_pictures, write_video
from lps_sim.media.colour import ToPlanes, ToRgb
from lps_sim.resampling import Cells, area_matrix, splat_matrix
from lps_sim.transfer import eotf, eotf_table, inverse_eotf
from lps_sim.yuv import LUMA_WEIGHTS, YuvFrame

ROUNDED = 0.52  # codes: what rounding to 8 bits takes, and a little for swscale's fixed-point sums
SINGLE = 2e-6  # of full scale: sums in single precision
H273 = {"bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "bt2020nc": 9}


def planes(height=36, width=64, seed=0, matrix="bt709", full_range=False) -> YuvFrame:
    """Luma noise on a ramp, smooth colour, nothing that leaves the RGB cube by much."""
    rng = np.random.default_rng(seed)
    luma = np.clip(np.linspace(40, 200, width) + rng.normal(0, 12, (height, width)), 16, 235).astype(np.uint8)
    u, v = (rng.integers(112, 145, (height // 2, width // 2), dtype=np.uint8) for _ in range(2))
    return YuvFrame(luma, u, v, matrix, full_range)


def as_av(frame: YuvFrame) -> av.VideoFrame:
    made = av.VideoFrame.from_ndarray(
        np.concatenate([frame.luma.ravel(), frame.u.ravel(), frame.v.ravel()]).reshape(-1, frame.luma.shape[1]),
        format="yuv420p",
    )
    made.colorspace, made.color_range = H273[frame.matrix], 2 if frame.full_range else 1
    return made


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", LUMA_WEIGHTS)
def test_planes_are_the_frame_that_swscale_makes_of_them_before_it_rounds(matrix, full_range):
    frame = planes(matrix=matrix, full_range=full_range)
    seen = as_av(frame)
    back = ToPlanes(ToRgb())(seen)
    assert (back.matrix, back.full_range) in {(matrix, full_range), ("smpte170m", full_range)}
    assert back.centred  # swscale's choice for a frame that says nothing
    np.testing.assert_array_equal(back.v, frame.v)
    assert np.abs(255 * back.rgb() - ToRgb()(seen)).max() <= ROUNDED


@pytest.mark.parametrize("name", ["srgb", "bt709", "gamma2.2", "gamma:2.4", "linear"])
def test_the_polynomials_keep_to_their_error(name):
    codes = np.random.default_rng(0).random(100_000)
    exact = eotf(codes, name)
    assert (np.abs(eotf_polynomial(name)(codes) - exact) <= np.maximum(EOTF_ERROR, EOTF_RELATIVE * exact)).all()


def test_srgb_polynomials_are_four_hundredths_of_a_code_wrong_at_most():
    codes = np.linspace(0, 1, 100_001)
    seen = inverse_eotf(np.maximum(eotf_polynomial("srgb")(codes).astype(float), 0), "srgb")
    assert np.abs(255 * (seen - codes)).max() <= 0.04


def test_a_curve_that_two_pieces_cannot_follow_has_no_polynomial_and_still_its_light():
    assert eotf_polynomial("gamma:1.3") is None
    frame, camera = planes(), Camera.from_field_of_view(64, 36, 70.0)
    seen = Degrader(None, 0, camera, noise=False, source_eotf="gamma:1.3").signal(frame)
    np.testing.assert_allclose(seen, frame.rgb() ** 1.3, atol=SINGLE)


@pytest.mark.parametrize(("height", "width"), [(36, 64), (34, 70)])
@pytest.mark.parametrize("centred", [False, True])
def test_every_kind_of_frame_shrinks_to_the_means_of_its_light(centred, height, width):
    frame = replace(planes(height, width), centred=centred)
    light = eotf(frame.rgb(), "srgb").astype(np.float32)
    codes = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    table = eotf_table("srgb", 8)
    incoming = [
        (Planes(frame, eotf_polynomial("srgb")), light),
        (Light(light), light),
        (Codes(codes, table), table[codes]),
    ]
    grids = [
        (splat_matrix(height, 7, 2), splat_matrix(width, 11, 4)),
        (area_matrix(height, 3, 33, 8), area_matrix(width, 0, width, width)),
        (splat_matrix(height, 13, 4), splat_matrix(width, 40, 2)),
        (np.eye(height), splat_matrix(width, 5, 2)),
    ]
    for source, known in incoming:
        for chosen in (grids[:1], grids[1:3], grids):
            found = source.shrink([(Cells.of(down), Cells.of(across)) for down, across in chosen])
            for means, (down, across) in zip(found, chosen):
                want = np.einsum("hy,wx,yxc->chw", down, across, known.astype(float), optimize=True)
                np.testing.assert_allclose(means, want, atol=SINGLE + 2 * EOTF_ERROR, rtol=EOTF_RELATIVE)
    for source, known in incoming:
        np.testing.assert_allclose(
            source.light().reshape(known.shape), known, atol=SINGLE + EOTF_ERROR, rtol=EOTF_RELATIVE
        )


@pytest.mark.parametrize(("preset", "layers"), [("rough", 4), ("bulk-haze", 2)])
def test_film_over_planes_is_film_over_their_picture(preset, layers):
    film, camera = FilmModel.load(preset), Camera.from_field_of_view(128, 72, 70.0)
    frame = planes(72, 128)
    rounded = np.rint(255 * frame.rgb()).astype(np.uint8)
    for output in [(128, 72), (56, 56)]:
        degrader = Degrader(film, layers, camera, output, seed=4)
        one, two = degrader([frame])[0].astype(int), degrader(rounded[np.newaxis])[0].astype(int)
        assert np.abs(one - two).max() <= 1
        assert (one != two).mean() < 0.2


def test_a_video_gives_planes_where_it_has_them_and_the_same_picture_in_any_case(tmp_path):
    frames = np.random.default_rng(2).integers(60, 200, (3, 32, 48, 3), dtype=np.uint8)
    for pixel_format, kind in [("yuv420p", YuvFrame), ("yuv444p", np.ndarray), ("yuv420p10le", np.ndarray)]:
        path = tmp_path / f"{pixel_format}.mp4"
        write_video(path, frames, Fraction(25), EncoderSettings(pixel_format=pixel_format))
        pictures, known = list(iter_pictures(path)), list(iter_frames(path))
        assert [type(picture) for picture in pictures] == [kind] * 3
        for picture, rgb in zip(pictures, known):
            seen = 255 * picture.rgb() if kind is YuvFrame else picture
            assert picture.shape == rgb.shape
            assert np.abs(seen - rgb.astype(float)).max() <= ROUNDED


def test_chroma_of_a_street_lies_at_the_even_columns_and_of_a_grey_start_anywhere(bikes_path):
    """H.264's default, found from the first frame with a colour edge."""
    picture, rgb = next(iter_pictures(bikes_path)), next(iter_frames(bikes_path))
    assert not picture.centred
    assert np.abs(255 * picture.rgb() - rgb).max() <= ROUNDED
    grey, coloured = planes(), planes(seed=5)
    flat = np.full_like(grey.u, 128)
    to_planes = ToPlanes(ToRgb())
    assert not to_planes(as_av(replace(grey, u=flat, v=flat))).centred
    assert to_planes(as_av(coloured)).centred


def test_a_grey_start_before_chroma_that_lies_nowhere_known_goes_on_as_rgb(tmp_path, monkeypatch):
    monkeypatch.setattr("lps_sim.media.colour._ROUNDED", -1.0)  # no place of the samples explains the picture
    frames = np.full((4, 32, 48, 3), 120, np.uint8)
    frames[2:, :, 24:] = (220, 40, 40)
    write_video(tmp_path / "clip.mp4", frames, Fraction(25), EncoderSettings(pixel_format="yuv420p"))
    pictures = list(iter_pictures(tmp_path / "clip.mp4"))
    assert [type(picture) for picture in pictures] == [YuvFrame, YuvFrame, np.ndarray, np.ndarray]
    assert Degrader(None, 0, Camera(48, 32, 60.0), noise=False)(pictures).shape == (4, 32, 48, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrix": "bt708"}, "matrix: unknown 'bt708'; did you mean 'bt709'"),
        ({"luma": np.zeros((35, 64), np.uint8)}, "luma must have even sides, got 64x35"),
        ({"u": np.zeros((18, 31), np.uint8)}, r"u must be uint8 \(18, 32\), got uint8 \(18, 31\)"),
        ({"v": np.zeros((18, 32))}, r"v must be uint8 \(18, 32\), got float64"),
    ],
)
def test_wrong_planes_are_named_with_their_rule(change, message):
    frame = planes()
    fields = {"luma": frame.luma, "u": frame.u, "v": frame.v, "matrix": "bt709", **change}
    with pytest.raises(ValueError, match=message):
        YuvFrame(**fields)


def test_frames_of_two_sizes_are_refused():
    degrader = Degrader(None, 0, Camera(64, 36, 60.0))
    with pytest.raises(ValueError, match=r"frames must have one size, got \(18, 32, 3\) after \(36, 64, 3\)"):
        degrader([planes(), planes(18, 32)])
