"""A filmed clip against its simulation: the same film passes, another film, noise or blur is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from capture_rig.compare import Comparison, compare_clips
from cli.main import main
from lps_sim import Camera, Degrader, FilmModel
from lps_sim.media import EncoderSettings, read_image, write_video

WIDTH, HEIGHT, LAYERS, GAIN = 160, 96, 6, 1.7
LOSSLESS = EncoderSettings(codec="ffv1", pixel_format="yuv444p10le")
FILM = FilmModel.load("p3ar-10layer")
CAMERA = Camera.from_field_of_view(WIDTH, HEIGHT, 40.0)


def moving_clip(frames: int = 10) -> np.ndarray:
    tiles = np.random.default_rng(0).integers(20, 220, (6, 10, 3))
    still = np.kron(tiles, np.ones((16, 16, 1))).astype(np.uint8)
    clip = np.repeat(still[None], frames, axis=0)
    for number, frame in enumerate(clip):
        frame[40:90, 10 + 5 * number : 30 + 5 * number] = (250, 20, 20)
    return clip


def film_through(layers: int, full_well_e: float = 9000.0, seed: int = 9) -> np.ndarray:
    camera = Camera.from_field_of_view(WIDTH, HEIGHT, 40.0, full_well_e=full_well_e, exposure=GAIN)
    return Degrader(FILM, layers, camera, seed=seed, border="dark").degrade(moving_clip())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    write_video(folder / "clean.mkv", moving_clip(), 25, LOSSLESS)
    write_video(folder / "same.mkv", film_through(LAYERS), 25, LOSSLESS)
    write_video(folder / "thicker.mkv", film_through(LAYERS + 2), 25, LOSSLESS)
    write_video(folder / "noisier.mkv", film_through(LAYERS, full_well_e=3000), 25, LOSSLESS)
    return folder


def compared(folder: Path, name: str) -> Comparison:
    return compare_clips(folder / "clean.mkv", folder / f"{name}.mkv", FILM, LAYERS, CAMERA)[0]


def test_a_clip_filmed_through_the_same_film_is_as_close_as_two_simulations(folder: Path) -> None:
    found = compared(folder, "same")
    assert found.close
    assert found.gain == pytest.approx(GAIN, rel=0.005)
    assert found.psnr_db == pytest.approx(found.psnr_expected_db, abs=0.2)
    assert found.ssim == pytest.approx(found.ssim_expected, abs=0.005)
    assert found.noise_codes == pytest.approx(found.noise_simulated_codes, rel=0.03)
    assert found.contrast == pytest.approx(found.contrast_simulated, rel=0.01)
    clear = [band.transfer for band in found.bands if band.clear]
    assert len(clear) >= 5
    assert clear == pytest.approx([1.0] * len(clear), abs=0.03)


def test_more_film_than_said_shows_as_blur_and_lost_contrast(folder: Path) -> None:
    found = compared(folder, "thicker")
    assert not found.close
    assert any("more blurred than simulated" in text for text in found.differences)
    assert any("contrast at silhouette scale" in text for text in found.differences)
    assert not any("noise" in text for text in found.differences)


def test_a_noisier_camera_shows_as_temporal_noise_and_not_as_blur(folder: Path) -> None:
    found = compared(folder, "noisier")
    assert [text.split(" times")[0] for text in found.differences] == [
        f"temporal noise {found.noise_codes / found.noise_simulated_codes:.2f}"
    ]
    assert found.noise_codes / found.noise_simulated_codes == pytest.approx(3**0.5, rel=0.05)


def test_clips_of_different_length_are_refused(folder: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "short.mkv", moving_clip(6), 25, LOSSLESS)
    with pytest.raises(ValueError, match="filmed ends before the other"):
        compare_clips(folder / "clean.mkv", tmp_path / "short.mkv", FILM, LAYERS, CAMERA)


def test_the_command_says_what_differs_and_draws_it(folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "compared.png"
    clips = [str(folder / "clean.mkv"), str(folder / "thicker.mkv")]
    (tmp_path / "camera.yaml").write_text("{width: 640, height: 384, fov_deg: 70}")
    film = [FILM.name, "--layers", str(LAYERS), "--camera", str(tmp_path / "camera.yaml"), "--fov", "40"]
    result = CliRunner().invoke(main, ["rig", "compare", *clips, *film, "-o", str(picture), "--json"])
    assert result.exit_code == 1, result.output
    said = json.loads(result.stdout)
    assert said["verdict"] == "differs"
    assert any("more blurred" in text for text in said["differences"])
    assert set(said["thresholds"]) >= {"psnr", "ssim"}
    assert read_image(picture).std() > 10
    clips[1] = str(folder / "same.mkv")
    result = CliRunner().invoke(main, ["rig", "compare", *clips, *film])
    assert result.exit_code == 0
    assert "a good model" in result.output
