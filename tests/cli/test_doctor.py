"""``lps doctor`` is green here, and red with a cure when something needed is taken away."""

from __future__ import annotations

import json
from collections import namedtuple
from importlib import metadata

import av
import pytest
from click.testing import CliRunner

from cli import doctor
from cli.main import main

Usage = namedtuple("Usage", "total used free")


def examine(*options: str) -> tuple[int, dict]:
    result = CliRunner().invoke(main, ["doctor", "--json", *options])
    assert "Traceback" not in result.output
    return result.exit_code, {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def test_the_environment_of_the_tests_is_sound() -> None:
    status, checks = examine()
    assert status == 0
    for name in ("python", "numpy", "torch", "av", "encoder libx264", "decoder hevc", "CPU cores", "free disk"):
        assert checks[name]["status"] in ("ok", "note"), checks[name]
    assert checks["torch"]["detail"] == metadata.version("torch")
    assert (checks["scikit-video"]["status"], checks["scikit-video"]["detail"]) == ("ok", "1.1.11")


def test_plain_output_names_every_group() -> None:
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    assert all(group in result.stdout for group in ("system", "packages", "codecs", "devices", "room"))


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without_h5py(name: str) -> str:
        if name in ("h5py", "hypothesis"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_h5py)
    status, checks = examine()
    assert status == 1
    assert (checks["h5py"]["status"], checks["h5py"]["cure"]) == ("missing", "pip install 'h5py>=3.10'")
    assert checks["hypothesis"]["status"] == "optional"
    assert checks["hypothesis"]["cure"] == "pip install 'lens-privacy-sealing[test]'"
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "MISSING   h5py" in result.stdout
    assert result.stderr.strip() == "1 needed here and missing: h5py"


def test_an_old_package_and_one_that_does_not_load_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    version, load = metadata.version, doctor.importlib.import_module
    monkeypatch.setattr(metadata, "version", lambda name: "0.9.1" if name == "rich" else version(name))

    def broken_cv2(name: str) -> object:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
        return load(name)

    monkeypatch.setattr(doctor.importlib, "import_module", broken_cv2)
    checks = {check.name: check for check in doctor._packages()}
    assert checks["rich"].detail == "0.9.1, but 13.7 or later is needed"
    assert checks["opencv-python-headless"].status == "missing"
    assert "does not load: libGL.so.1" in checks["opencv-python-headless"].detail


def test_missing_encoder_and_full_disk_fail_but_a_missing_useful_decoder_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    codec = av.Codec

    def poorer(name: str, mode: str) -> object:
        if name in ("libx264", "av1"):
            raise av.codec.codec.UnknownCodecError(name)
        return codec(name, mode)

    monkeypatch.setattr(av, "Codec", poorer)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(10 * doctor.GIB, 0, doctor.GIB // 2))
    checks = {check.name: check for check in (*doctor._codecs(), *doctor._room(tmp_path))}
    assert checks["encoder libx264"].status == "missing"
    assert checks["encoder libx264"].cure
    assert checks["decoder av1"].status == "optional"
    assert (checks["free disk"].status, checks["free disk"].detail) == ("missing", f"0.5 GiB in {tmp_path}")


@pytest.mark.parametrize(
    ("older", "newer"), [("1.9", "1.10"), ("2.13.0", "2.13.1"), ("3.8", "3.8.0"), ("2.3", "2.13.0+cpu")]
)
def test_versions_compare_by_number(older: str, newer: str) -> None:
    assert doctor._numbers(older) <= doctor._numbers(newer)
    assert not doctor._numbers(newer) < doctor._numbers(older)
