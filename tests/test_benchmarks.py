"""The benchmarks of speed run end to end in a tiny setting and their results make a page; no time is judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lps_sim import Camera, FilmModel
from lps_sim.transfer import eotf_srgb

FLAT = 0.4
# float32 transforms of a flat field of 0.4.
FLAT_TOLERANCE = 1e-5


def test_whole_runs_are_measured_and_their_results_make_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import pipeline, results

    tiny = "--size 320x180 --frames 6 --clips 2 --full-clips 1 --rounds 1 --workers 0 --films rough --layers 8"
    pipeline.main([*tiny.split(), "--json", str(tmp_path / "pipeline.json")])
    stored = json.loads((tmp_path / "pipeline.json").read_text())
    rates = stored["rows"]["rates"]
    assert [row["what"] for row in rates] == ["decode only", "gblur + scale", "no film", "rough", "no film", "rough"]
    assert all(row["frames_a_second"] > 0 and row["core_ms_a_frame"] > 0 for row in rates)
    assert [row["frames"] for row in stored["rows"]["memory"]] == [6, 6 * pipeline.LONGER]
    results.main([str(tmp_path / "page.md"), str(tmp_path / "pipeline.json")])
    page = (tmp_path / "page.md").read_text()
    assert pipeline.NAME in page
    assert "| rough" in page
    assert "gblur + scale" in capsys.readouterr().out


def test_reading_is_measured_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import readers

    readers.main(["--clips", "2", "--frames", "6", "--rounds", "1", "--json", str(tmp_path / "readers.json")])
    rows = json.loads((tmp_path / "readers.json").read_text())["rows"]
    assert [row["format"] for row in rows] == ["mp4", "webdataset", "frames", "hdf5, JPEG", "hdf5, raw"]
    assert all(row["core_s"] > 0 and row["bytes_a_clip"] > 0 for row in rows)
    assert "Clips read by one process" in capsys.readouterr().out


def test_a_training_step_is_measured_beside_its_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import results, train_step

    train_step.main(["--quick", "--steps", "1", "--device", "cpu", "--json", str(tmp_path / "train_step.json")])
    (row,) = json.loads((tmp_path / "train_step.json").read_text())["rows"]
    assert row["ratio"] == pytest.approx(row["step_ms"] / row["bare_ms"])
    assert row["clips_s"] == pytest.approx(1e3 * row["batch"] / row["step_ms"])
    results.main([str(tmp_path / "page.md"), str(tmp_path / "train_step.json")])
    assert "A training step beside its network" in (tmp_path / "page.md").read_text()
    assert "step / X-CLIP" in capsys.readouterr().out


def test_the_longer_clip_holds_every_frame_as_often_as_asked(tmp_path: Path) -> None:
    from benchmarks.pipeline import decode_clip, make_clip, make_longer

    make_clip(tmp_path / "short.mp4", (64, 48), 5)
    make_longer(tmp_path / "long.mp4", tmp_path / "short.mp4", 3)
    assert decode_clip(tmp_path / "short.mp4") == 5
    assert decode_clip(tmp_path / "long.mp4") == 15


def test_every_alternative_leaves_a_flat_field_flat() -> None:
    from benchmarks.alternatives import alternatives

    film, camera = FilmModel.load("rough"), Camera.from_field_of_view(96, 64, 70.0)
    found = alternatives(np.full((64, 96, 3), FLAT, np.float32), film, 8, camera)
    assert {"scipy.fft rfft2", "scipy.fft dctn", "OpenCV filter2D"} <= {other.name for other in found}
    for other in found:
        np.testing.assert_allclose(other.blur(), FLAT, rtol=0, atol=FLAT_TOLERANCE, err_msg=other.name)


def test_alternatives_with_the_whole_kernel_agree_with_each_other_away_from_the_padding() -> None:
    from benchmarks.alternatives import by_scipy, by_torch

    # The padded and the reflected frame differ by light that comes from beyond the padding alone.
    beyond_the_padding = 0.02
    film, camera = FilmModel.load("rough"), Camera.from_field_of_view(96, 64, 70.0)
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3))
    light = eotf_srgb(picture / 255.0).astype(np.float32)
    padded, reflected = (other.blur() for other in by_scipy(light, film, 2, camera))
    np.testing.assert_allclose(padded, reflected, rtol=0, atol=beyond_the_padding)
    torch_padded = by_torch(light, film, 2, camera)[0].blur()
    np.testing.assert_allclose(torch_padded, padded, rtol=0, atol=FLAT_TOLERANCE)
