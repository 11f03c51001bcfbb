"""Stills keep their bits; the sample clips are found or their absence names the cure."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest

from lps_sim.errors import UnknownNameError
from lps_sim.media import read_image, sample_clip, write_image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_png_and_tiff_keep_every_bit(tmp_path, dtype: type, suffix: str) -> None:
    array = np.random.default_rng(4).integers(0, np.iinfo(dtype).max + 1, (9, 14, 3)).astype(dtype)
    write_image(tmp_path / f"image{suffix}", array)
    back = read_image(tmp_path / f"image{suffix}")
    assert back.dtype == dtype
    assert np.array_equal(back, array)
    write_image(tmp_path / f"grey{suffix}", array[:, :, 0])
    assert np.array_equal(read_image(tmp_path / f"grey{suffix}"), np.repeat(array[:, :, :1], 3, axis=2))


def test_jpeg_keeps_smooth_colours(tmp_path) -> None:
    y, x = np.mgrid[:48, :64]
    smooth = np.rint(128 + 90 * np.stack([np.sin(x / 19), np.sin(y / 17), np.cos((x + y) / 23)], axis=-1)).astype(
        np.uint8
    )
    write_image(tmp_path / "image.jpg", smooth)
    assert np.abs(read_image(tmp_path / "image.jpg").astype(int) - smooth).max() <= 8
    with pytest.raises(ValueError, match="JPEG holds 8 bits"):
        write_image(tmp_path / "deep.jpg", smooth.astype(np.uint16))


def test_sample_clips_are_found_and_their_absence_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sample_clip("bikes.mp4").name == "bikes.mp4"
    with pytest.raises(UnknownNameError, match=r"did you mean 'bikes.mp4'"):
        sample_clip("bike.mp4")

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(FileNotFoundError, match="install the demo extra"):
        sample_clip("bikes.mp4")
