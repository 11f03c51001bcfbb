"""What a calibration set is refused for when it is read; exposures from EXIF; camera RAW."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import yaml
from PIL import Image

from lps_sim.calibration.shots import Shot, ShotGeometry, ShotSet, write_shots
from lps_sim.camera import Camera
from lps_sim.media import MediaError, read_image, write_image
from lps_sim.media.exif import read_exif_exposure

CAMERA = Camera(64, 36, 60.0)
EXPOSURE_TIME, F_NUMBER, ISO = 0x829A, 0x829D, 0x8827


def picture(level=100, shape=(36, 64, 3), dtype=np.uint8):
    return np.full(shape, level, dtype)


@pytest.fixture
def folder(tmp_path):
    """Two scenes, bare and through two layers, one at two exposures."""
    shots = []
    for scene, layers, exposure in (("a", 0, 1.0), ("a", 2, 1.0), ("a", 2, 8.0), ("b", 0, 1.0), ("b", 2, 1.0)):
        file = f"{scene}{layers}x{exposure:g}.png"
        write_image(tmp_path / file, picture())
        shots.append(Shot(file=file, target="edge", scene=scene, layers=layers, exposure=exposure))
    write_shots(tmp_path / "shots.yaml", CAMERA, ShotGeometry(), shots)
    return tmp_path


def edit(folder, change):
    path = folder / "shots.yaml"
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data))
    return path


def colour():
    codes = picture()
    codes[..., 0] += 40
    return codes


@pytest.mark.parametrize(
    ("file", "codes", "message"),
    [
        ("b2x1.png", colour(), r"a0x1\.png is grey and b2x1\.png is colour; store every shot"),
        ("b2x1.png", picture(1), r"b2x1\.png: black: no light in the picture; is the cap on"),
        ("b2x1.png", picture(255), r"b2x1\.png: saturated at every pixel, and scene b has no other shot at 2 layers"),
        ("b0x1.png", picture(255), r"b0x1\.png: saturated at every pixel.*shorter exposure"),
        ("b0x1.png", picture(9, (36, 60, 3)), r"b0x1\.png: 60x36 pixels, but the camera has 64x36"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named_with_the_cure(folder, file, codes, message):
    write_image(folder / file, codes)
    with pytest.raises(ValueError, match=message):
        ShotSet.load(folder / "shots.yaml")


def test_a_shot_saturated_on_purpose_is_left_out_with_its_reason(folder):
    write_image(folder / "a2x8.png", picture(255))
    loaded = ShotSet.load(folder / "shots.yaml")
    assert loaded.unusable == {"a2x8.png": "saturated at every pixel"}
    assert len(loaded.shots) == 5


def test_a_black_picture_is_right_for_a_dark_or_screen_off_shot(folder):
    write_image(folder / "dark.png", picture(0))
    dark = {"file": "dark.png", "target": "dark", "scene": "dark", "layers": 0, "exposure": 1.0}
    assert len(ShotSet.load(edit(folder, lambda d: d["shots"].append(dark))).shots) == 6


def test_a_scene_without_a_bare_shot_is_refused(folder):
    path = edit(folder, lambda d: d["shots"].pop(3))
    with pytest.raises(ValueError, match=r"scene b \(b2x1\.png, \.\.\.\): no bare shot; add one"):
        ShotSet.load(path)


def test_other_suffixes_and_eight_bits_for_a_camera_of_more_are_refused(folder):
    (folder / "b2x1.bmp").write_bytes(b"BM")
    path = edit(folder, lambda d: d["shots"][4].update(file="b2x1.bmp"))
    with pytest.raises(ValueError, match=r"b2x1\.bmp: a shot must be one of \.png"):
        ShotSet.load(path)
    path = edit(folder, lambda d: (d["shots"].pop(4), d["camera"].update(bits=12)))
    with pytest.raises(ValueError, match="an 8-bit file, but the camera has 12 bits"):
        ShotSet.load(path)


def test_sixteen_bit_tiff_is_read_as_stored(folder):
    write_image(folder / "b2x1.tif", picture(40_000, dtype=np.uint16))
    assert int(read_image(folder / "b2x1.tif").max()) == 40_000


def with_exif(path, time=None, iso=None, f_number=None):
    image = Image.fromarray(picture())
    exif = Image.Exif()
    inner = exif.get_ifd(0x8769)
    for tag, value in ((EXPOSURE_TIME, time), (ISO, iso), (F_NUMBER, f_number)):
        if value is not None:
            inner[tag] = value
    image.save(path, exif=exif.tobytes())  # an Exif whose sub-directory alone is filled counts as empty


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exposure_comes_from_exif(tmp_path, suffix):
    path = tmp_path / f"shot.{suffix}"
    with_exif(path, 0.02, 400, 2.0)
    found = read_exif_exposure(path)
    assert found is not None
    assert found.relative == pytest.approx(0.02 * 400 / 4)
    with_exif(path)
    assert read_exif_exposure(path) is None


def without_exposures(data):
    for shot in data["shots"]:
        del shot["exposure"]


def test_left_out_exposures_are_relative_to_the_shortest_bare_shot(folder):
    times = {"a0x1": 0.01, "a2x1": 0.02, "a2x8": 0.16, "b0x1": 0.01, "b2x1": 0.03}
    for name, time in times.items():
        with_exif(folder / f"{name}.png", time, 200, 2.8)
    loaded = ShotSet.load(edit(folder, without_exposures))
    assert [shot.exposure for shot in loaded.shots] == pytest.approx([1, 2, 16, 1, 3])


def test_exposures_that_nobody_tells_are_refused(folder):
    path = edit(folder, lambda d: d["shots"][1].pop("exposure"))
    with pytest.raises(ValueError, match=r"a2x1\.png: no exposure: neither .* nor as ExposureTime.*write exposure: X"):
        ShotSet.load(path)
    with_exif(folder / "a2x1.png", 0.02)
    with pytest.raises(ValueError, match=r"a2x1\.png: no exposure, while other shots have one"):
        ShotSet.load(path)


def test_a_misspelt_exposure_is_a_misspelt_key(folder):
    path = edit(folder, lambda d: d["shots"][1].update(exposre=d["shots"][1].pop("exposure")))
    with pytest.raises(ValueError, match="unknown 'exposre'; did you mean 'exposure'"):
        ShotSet.load(path)


def test_iso_in_some_pictures_only_is_refused(folder):
    for index, shot in enumerate(ShotSet.load(folder / "shots.yaml").shots):
        with_exif(folder / shot.file, 0.02, 200 if index else None)
    with pytest.raises(ValueError, match=r"a0x1\.png: its EXIF data lack iso"):
        ShotSet.load(edit(folder, without_exposures))


@pytest.fixture
def rawpy(monkeypatch):
    """A stand-in for rawpy that notes how it was asked; a simulated reader, no LibRaw."""
    asked = {}

    class Opened:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def postprocess(self, **options):
            asked.update(options)
            return picture(20_000, dtype=np.uint16)

    class LibRawError(Exception):
        pass

    def imread(path):
        if "damaged" in path:
            raise LibRawError("unsupported file format")
        return Opened()

    module = types.SimpleNamespace(
        imread=imread, LibRawError=LibRawError, ColorSpace=types.SimpleNamespace(raw="raw"), asked=asked
    )
    monkeypatch.setitem(sys.modules, "rawpy", module)
    return module


def test_camera_raw_is_asked_for_as_linear_light(rawpy, tmp_path):
    (tmp_path / "shot.NEF").write_bytes(b"raw")
    image = read_image(tmp_path / "shot.NEF")
    assert image.dtype == np.uint16
    assert rawpy.asked["gamma"] == (1, 1)
    assert rawpy.asked["no_auto_bright"] is True
    assert rawpy.asked["output_bps"] == 16
    assert rawpy.asked["use_camera_wb"] is False
    assert rawpy.asked["use_auto_wb"] is False
    assert rawpy.asked["user_wb"] == [1.0] * 4
    assert rawpy.asked["output_color"] == "raw"
    (tmp_path / "damaged.dng").write_bytes(b"raw")
    with pytest.raises(MediaError, match=r"damaged\.dng: not a RAW picture: unsupported file format"):
        read_image(tmp_path / "damaged.dng")


def test_a_raw_set_needs_a_linear_camera_of_sixteen_bits(rawpy, folder):
    def raw(data):
        for shot in data["shots"]:
            shot["file"] = shot["file"].replace(".png", ".dng")
            (folder / shot["file"]).write_bytes(b"raw")

    path = edit(folder, raw)
    with pytest.raises(ValueError, match=r"a0x1\.dng: camera RAW .* set eotf: linear and bits: 16"):
        ShotSet.load(path)
    loaded = ShotSet.load(edit(folder, lambda d: d["camera"].update(eotf="linear", bits=16)))
    assert int(loaded.codes(loaded.shots[0]).max()) == 20_000


def test_camera_raw_without_its_reader_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    (tmp_path / "shot.cr2").write_bytes(b"raw")
    with pytest.raises(MediaError, match=r"needs the package rawpy; install it with: pip install .*\[raw\]"):
        read_image(tmp_path / "shot.cr2")
