"""What H.264 costs a clip seen through film: a sharp low-contrast veil, weak motion, steady light.

    python -m benchmarks.codec_veil [--frames 100] [--json RESULT.json]

A real street clip goes through a film at ten layers (sensor noise and 8-bit rounding included, 224x224 as in the data
sets), is encoded at every setting, decoded again and compared with its uncompressed self and with the noise-free truth
(exact operator, not rounded). Two films: ``p3ar-10layer``, a smooth veil of 10-13 % contrast, and ``bulk-haze``, whose
unscattered 12 % carries sharp detail: a codec that wipes it out would make the film look more private than it is.
docs/codec.md shows the table and the choice made from it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lps_sim import Camera, Degrader, FilmModel, apply_film
from lps_sim.media import EncoderSettings, read_frames, read_video, sample_clip, write_video
from lps_sim.transfer import eotf_table, inverse_eotf

FILMS = ("p3ar-10layer", "bulk-haze")
LAYERS = 10
OUTPUT_PX = 224
FIELD_OF_VIEW_DEG = 70.0
LAG = 4  # frames between the two of an inter-frame difference, as MSPNet's noise suppressor takes it
PATCH_PX = 16  # what the network averages over first
WEAK_CODES = 1.0  # motion below one code value: the part that a codec's dead zone threatens
DETAIL_SIGMA_PX = 2.0
CRFS = (0, 4, 8, 10, 11, 12, 14, 18, 23, 28)
FORMATS_AND_TUNES = (
    ("yuv420p", ""),
    ("yuv420p", "grain"),
    ("yuv444p", ""),
    ("yuv420p10le", ""),
    ("yuv420p10le", "grain"),
    ("yuv420p10le", "psnr"),
    ("yuv444p10le", ""),
)
OTHER_PRESETS = ("ultrafast", "veryfast", "fast", "medium", "slow")


def main() -> None:
    """Measure every setting and print one Markdown table a film."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100, help="frames of the clip to use")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    arguments = parser.parse_args()
    source = read_frames(sample_clip("bikes.mp4"), range(arguments.frames))
    results = {}
    for name in FILMS:
        truth, recorded = through_film(source, FilmModel.load(name))
        results[name] = list(measure(truth, recorded))
        print(f"\n{name}, {LAYERS} layers, {OUTPUT_PX}x{OUTPUT_PX}, {len(source)} frames\n")
        print(markdown(results[name]))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


def through_film(source: np.ndarray, film: FilmModel) -> tuple[np.ndarray, np.ndarray]:
    """Noise-free code values (T, h, w, 3) float32, and what the camera records, uint8."""
    height, width = source.shape[1:3]
    camera = Camera.from_field_of_view(width, height, FIELD_OF_VIEW_DEG)
    table = eotf_table(camera.eotf)
    truth = []
    for frame in source:
        light = apply_film(table[frame], film, LAYERS, camera).astype(np.float32)
        small = cv2.resize(light, (OUTPUT_PX, OUTPUT_PX), interpolation=cv2.INTER_AREA)
        truth.append(255 * inverse_eotf(np.clip(small, 0, 1), camera.eotf))
    degrader = Degrader(film, LAYERS, camera, output_size=(OUTPUT_PX, OUTPUT_PX), seed=0)
    return np.stack(truth).astype(np.float32), degrader.degrade(source, first_frame=0)


def measure(truth: np.ndarray, recorded: np.ndarray) -> Iterator[dict[str, Any]]:
    """One row without a codec, then one a setting."""
    yield {"setting": None, "bytes": recorded[0].size, "cpu_ms": 0.0, **compare(truth, recorded, recorded)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        for settings in all_settings():
            started = time.process_time()
            write_video(path, recorded, 25, settings)
            cpu_ms = 1000 * (time.process_time() - started) / len(recorded)
            size = path.stat().st_size / len(recorded)
            coded, _ = read_video(path)
            figures = compare(truth, recorded, coded)
            yield {"setting": settings.to_dict(), "bytes": size, "cpu_ms": cpu_ms, **figures}


def all_settings() -> Iterator[EncoderSettings]:
    """Every format, tuning and CRF, then the default at other presets, and with what it leaves out."""
    for pixel_format, tune in FORMATS_AND_TUNES:
        for crf in CRFS:
            yield EncoderSettings(crf=crf, pixel_format=pixel_format, tune=tune)
    for preset in OTHER_PRESETS:
        yield EncoderSettings(preset=preset)
    yield EncoderSettings(b_frames=3)
    yield EncoderSettings(aq=True)
    yield EncoderSettings(crf=12, preset="veryfast", b_frames=3, aq=True)


def compare(truth: np.ndarray, recorded: np.ndarray, coded: np.ndarray) -> dict[str, float]:
    """What is left of a clip after coding.

    psnr_db
        Code values, coded against recorded frames (recorded against itself: infinite).
    motion_db, patch_db
        Signal to noise of the differences over ``LAG`` frames, averaged over colour, a pixel and a 16x16 patch: the
        true difference against its error.
    weak
        Share of true motion below one code value that is kept: regression of the coded on the true difference.
    detail
        Share of fine static structure kept: the same for what a Gaussian of 2 px takes away from a frame.
    flicker
        Standard deviation over time of frame mean, coded minus recorded, in code values.
    """
    error = coded.astype(np.float32) - recorded
    mean_square = float(np.mean(error**2))
    motion, coded_motion = difference(truth), difference(coded)
    patch, coded_patch = patches(motion), patches(coded_motion)
    weak = np.abs(motion) < WEAK_CODES
    return {
        "psnr_db": float(10 * np.log10(255**2 / mean_square)) if mean_square else float("inf"),
        "motion_db": signal_to_noise_db(motion, coded_motion),
        "patch_db": signal_to_noise_db(patch, coded_patch),
        "weak": share_kept(motion[weak], coded_motion[weak]),
        "detail": share_kept(fine(truth), fine(coded)),
        "flicker": float(np.std(error.mean(axis=(1, 2, 3)))),
    }


def difference(frames: np.ndarray) -> np.ndarray:
    """F_t - F_(t - LAG), averaged over colour: (T - LAG, h, w)."""
    grey = frames.astype(np.float32).mean(axis=-1)
    return grey[LAG:] - grey[:-LAG]


def patches(differences: np.ndarray) -> np.ndarray:
    """Means over 16x16 patches."""
    count, height, width = differences.shape
    return differences.reshape(count, height // PATCH_PX, PATCH_PX, width // PATCH_PX, PATCH_PX).mean(axis=(2, 4))


def fine(frames: np.ndarray) -> np.ndarray:
    """Every frame minus its Gaussian blur, averaged over colour."""
    grey = frames.astype(np.float32).mean(axis=-1)
    return np.stack([frame - cv2.GaussianBlur(frame, (0, 0), DETAIL_SIGMA_PX) for frame in grey])


def signal_to_noise_db(true: np.ndarray, seen: np.ndarray) -> float:
    """Power of the true signal over the power of the error."""
    return float(10 * np.log10(np.sum(true**2, dtype=np.float64) / np.sum((seen - true) ** 2, dtype=np.float64)))


def share_kept(true: np.ndarray, seen: np.ndarray) -> float:
    """Least-squares slope of what is seen on what is true: 1 if nothing is lost, whatever the noise."""
    return float(np.sum(seen * true, dtype=np.float64) / np.sum(true**2, dtype=np.float64))


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    names = ["setting", "bytes/frame", "ms/frame", "PSNR dB", "motion dB", "patch dB", "weak", "detail", "flicker"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in rows:
        setting = row["setting"]
        label = "uncompressed"
        if setting:
            words = [setting["pixel_format"], setting["tune"], f"CRF {setting['crf']}"]
            words.append("" if setting["preset"] == EncoderSettings().preset else setting["preset"])
            words += ["B-frames"] * bool(setting["b_frames"]) + ["AQ"] * setting["aq"]
            label = " ".join(word for word in words if word)
        size = f"{row['bytes']:,.0f} | {row['cpu_ms']:.1f}"
        powers = f"{row['psnr_db']:.1f} | {row['motion_db']:.1f} | {row['patch_db']:.1f}"
        shares = f"{row['weak']:.3f} | {row['detail']:.3f} | {row['flicker']:.3f}"
        lines.append(f"| {label} | {size} | {powers} | {shares} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
