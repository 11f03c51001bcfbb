"""The sim-to-real score: its figures on known values, and its verdict on known films."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from capture_rig.compare import (
    compare_clips,
    psnr,
    radial_spectrum,
    silhouette_contrast,
    ssim,
    temporal_noise,
)
from cli.main import main
from lps_sim import Camera, Degrader, FilmModel
from lps_sim.media import EncoderSettings, write_video

CAMERA = Camera.from_field_of_view(160, 96, 70.0)
FILM = "p3ar-10layer"
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A clean clip, and the same through four layers of a film by a camera with another exposure."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(0)
    tiles = np.kron(rng.integers(20, 200, (6, 10, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
    frames = np.repeat(tiles[np.newaxis], 10, axis=0)
    for t, frame in enumerate(frames):
        frame[20:90, 10 + 4 * t : 40 + 4 * t] = 240
    filmed = Degrader(FilmModel.load(FILM), 4, CAMERA.with_exposure(0.8), seed=9).degrade(frames)
    lossless = EncoderSettings(codec="ffv1", pixel_format="yuv444p")
    write_video(folder / "clean.mkv", frames, 25, lossless)
    write_video(folder / "filmed.mkv", filmed, 25, lossless)
    return folder / "clean.mkv", folder / "filmed.mkv"


def test_psnr_of_a_known_error() -> None:
    flat = np.full((8, 8), 100.0)
    assert psnr(flat, flat + 25.5) == pytest.approx(20.0)
    assert psnr(flat, flat) == math.inf


def test_ssim_of_flat_pictures_is_their_luminance_term() -> None:
    one, other = np.full((20, 20), 100.0), np.full((20, 20), 150.0)
    assert ssim(one, other) == pytest.approx((2 * 100 * 150 + C1) / (100**2 + 150**2 + C1))
    assert ssim(one, one) == pytest.approx(1.0)


def test_ssim_of_a_scaled_picture_is_its_contrast_term() -> None:
    """x = 128 + d and y = 128 + k d about one window's mean: luminance 1, structure (2 k v + C2) / ((1 + k^2) v + C2)
    with d's variance v under the Gaussian window."""
    window = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(window, window) / window.sum() ** 2
    d = np.random.default_rng(1).normal(0, 20, (11, 11))
    d -= (window * d).sum()
    variance, k = (window * d**2).sum(), -0.4
    expected = (2 * k * variance + C2) / ((1 + k**2) * variance + C2)
    assert ssim(128 + d, 128 + k * d) == pytest.approx(expected)


def test_ssim_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11 px"):
        ssim(np.zeros((10, 20)), np.zeros((10, 20)))


def test_temporal_noise_is_the_noises_deviation_though_things_move() -> None:
    rng = np.random.default_rng(2)
    frames = np.full((6, 120, 160), 90.0) + rng.normal(0, 2.5, (6, 120, 160))
    for t in range(6):
        frames[t, 30:90, 20 + 5 * t : 60 + 5 * t] += 100
    assert temporal_noise(frames, [(0, 1), (2, 3), (4, 5)]) == pytest.approx(2.5, rel=0.03)


def test_the_spectrum_of_white_noise_is_flat_and_of_a_wave_is_in_its_band() -> None:
    rng = np.random.default_rng(3)
    frequencies, power = radial_spectrum(rng.normal(0, 1, (20, 128, 128)))
    # The lowest rings hold few frequencies.
    assert power[3:] == pytest.approx(np.full(len(power) - 3, (np.hanning(128) ** 2).sum() ** 2), rel=0.1)
    wave = np.sin(2 * np.pi * 0.1 * np.arange(128))[None, None, :] * np.ones((1, 128, 1))
    frequencies, power = radial_spectrum(wave)
    assert abs(math.log2(frequencies[power.argmax()] / 0.1)) <= 0.25


def test_silhouette_contrast_looks_at_a_tenth_of_the_height_and_scales_with_contrast() -> None:
    def waves(period_px: float, amplitude: float) -> np.ndarray:
        return 100 + amplitude * np.sin(2 * np.pi * np.arange(200) / period_px)[None, None, :] * np.ones((1, 200, 1))

    # A tenth of the height is half a period of the middle of the band.
    middle = silhouette_contrast(waves(90, 20))
    assert silhouette_contrast(waves(90, 10)) == pytest.approx(middle / 2, rel=0.02)
    assert silhouette_contrast(waves(10, 20)) < 0.1 * middle


def test_a_clip_filmed_through_the_same_film_agrees_and_its_exposure_is_found(clips: tuple[Path, Path]) -> None:
    found, pictures = compare_clips(*clips, FilmModel.load(FILM), 4, CAMERA)
    assert found.verdict == "agrees"
    assert found.gain == pytest.approx(0.8, abs=0.01)
    assert found.offset == pytest.approx(0, abs=0.003)
    assert found.psnr_db > 35 > found.psnr_as_is_db
    assert found.noise_ratio == pytest.approx(1, abs=0.25)  # less light, more shot noise
    assert found.spectrum_ratio == pytest.approx(1, abs=0.05)
    assert pictures.clean.shape == pictures.filmed.shape == pictures.degraded.shape == (96, 160, 3)


@pytest.mark.parametrize(("layers", "larger"), [(0, False), (8, True)])
def test_a_wrong_number_of_layers_shows_in_the_spectrum(clips: tuple[Path, Path], layers: int, larger: bool) -> None:
    found, _ = compare_clips(*clips, FilmModel.load(FILM), layers, CAMERA)
    assert "spectrum_ratio" in found.failed
    assert (found.spectrum_ratio > 1) == larger


def test_the_command_says_it_and_writes_the_page(clips: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "compare.html"
    arguments = [*map(str, clips), FILM, "--layers", "4", "--page", str(page), "--json"]
    result = CliRunner().invoke(main, ["rig", "compare", *arguments])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["verdict"] == "agrees"
    assert "Verdict: agrees" in page.read_text()
    result = CliRunner().invoke(main, ["rig", "compare", *map(str, clips), FILM, "--layers", "8"])
    assert result.exit_code == 1
    assert "differs" in result.output


def test_clips_of_different_lengths_are_refused(clips: tuple[Path, Path], tmp_path: Path) -> None:
    write_video(tmp_path / "short.mp4", np.zeros((3, 96, 160, 3), np.uint8), 25)
    with pytest.raises(ValueError, match="got 10 clean and 3 filmed"):
        compare_clips(clips[0], tmp_path / "short.mp4", None, 0, CAMERA)
