"""``lps doctor``: versions, codecs, devices, memory and disk, and the cure of what is missing."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import click

from .common import json_option, print_json

DISTRIBUTION = "lens-privacy-sealing"
PYTHON_FROM, PYTHON_BELOW = (3, 10), (3, 14)
ENCODERS_NEEDED, ENCODERS_USEFUL = ("libx264",), ("mpeg4", "libx265", "libvpx-vp9", "ffv1")
DECODERS_NEEDED, DECODERS_USEFUL = ("h264", "mpeg4", "hevc"), ("vp9", "av1", "mjpeg")
# Distributions whose compiled parts can be installed and still not load (a missing system library, a wrong CPU).
COMPILED = {
    "numpy": "numpy",
    "scipy": "scipy.fft",
    "av": "av",
    "opencv-python-headless": "cv2",
    "h5py": "h5py",
    "matplotlib": "matplotlib",
    "numba": "numba",
    "pillow": "PIL.Image",
    "torch": "torch",
}
GIB = 2**30
DISK_NEEDED_GIB, DISK_ADVISED_GIB, MEMORY_ADVISED_GIB = 1.0, 10.0, 4.0


@dataclass(frozen=True)
class Check:
    """One line of the examination. ``status``: ``ok``, ``note``, ``optional`` (absent, not needed) or ``missing``."""

    group: str
    name: str
    status: str
    detail: str
    cure: str = ""


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check versions, codecs, devices, memory and disk.

    Exit status 1, with the cure, where something that is needed is missing.
    """
    checks = list(examine(Path.cwd()))
    missing = [check for check in checks if check.status == "missing"]
    if as_json:
        print_json({"ok": not missing, "checks": [asdict(check) for check in checks]})
    else:
        _print(checks)
    if missing:
        if not as_json:
            click.echo(
                f"{len(missing)} needed here and missing: {', '.join(check.name for check in missing)}", err=True
            )
        raise SystemExit(1)


def examine(folder: Path) -> Iterator[Check]:
    """All checks; ``folder`` is where results would be written."""
    yield from _python()
    yield from _packages()
    yield from _codecs()
    yield from _devices()
    yield from _room(folder)


def _print(checks: list[Check]) -> None:
    marks = {"ok": "ok      ", "note": "note    ", "optional": "optional", "missing": "MISSING "}
    group = ""
    for check in checks:
        if check.group != group:
            group = check.group
            click.echo(group)
        click.echo(f"  {marks[check.status]}  {check.name:<24} {check.detail}")
        if check.cure:
            click.echo(f"            cure: {check.cure}")


def _python() -> Iterator[Check]:
    version = sys.version_info[:2]
    fits = PYTHON_FROM <= version < PYTHON_BELOW
    cure = (
        ""
        if fits
        else f"use Python {'.'.join(map(str, PYTHON_FROM))} or later, below {PYTHON_BELOW[0]}.{PYTHON_BELOW[1]}"
    )
    yield Check("system", "python", "ok" if fits else "missing", platform.python_version(), cure)
    yield Check("system", "platform", "ok", platform.platform(terse=True))


def _packages() -> Iterator[Check]:
    try:
        requirements = metadata.requires(DISTRIBUTION) or []
        yield Check("packages", DISTRIBUTION, "ok", metadata.version(DISTRIBUTION))
    except metadata.PackageNotFoundError:
        yield Check("packages", DISTRIBUTION, "missing", "not installed", "pip install -e . in the project's folder")
        return
    for text in requirements:
        name = re.split(r"[\s<>=!~;\[(]", text, maxsplit=1)[0]
        lowest = re.search(r"(?:>=|==)\s*([\d.]+)", text)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", text)
        yield _package(name, lowest.group(1) if lowest else "", extra.group(1) if extra else "")


def _package(name: str, lowest: str, extra: str) -> Check:
    group = f"packages of the optional extra '{extra}'" if extra else "packages"
    cure = f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install '{name}>={lowest}'"
    absent = "optional" if extra else "missing"
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(group, name, absent, "not installed", cure)
    if _numbers(installed) < _numbers(lowest):
        return Check(group, name, absent, f"{installed}, but {lowest} or later is needed", cure)
    if name in COMPILED:
        try:
            importlib.import_module(COMPILED[name])
        except (ImportError, OSError) as error:
            reason = " ".join(str(error).split())
            return Check(group, name, absent, f"{installed} is installed but does not load: {reason}", cure)
    return Check(group, name, "ok", installed)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r"[\d.]*", version).group().split(".") if part)  # type: ignore[union-attr]


def _codecs() -> Iterator[Check]:
    try:
        import av
    except (ImportError, OSError):
        yield Check("codecs", "FFmpeg", "missing", "PyAV does not load", "pip install --force-reinstall av")
        return
    yield Check("codecs", "FFmpeg", "ok", "libavcodec " + ".".join(map(str, av.library_versions["libavcodec"])))
    cure = "pip install --force-reinstall --only-binary=:all: av (its wheels bring FFmpeg with x264)"
    for kind, mode, needed, useful in (
        ("encoder", "w", ENCODERS_NEEDED, ENCODERS_USEFUL),
        ("decoder", "r", DECODERS_NEEDED, DECODERS_USEFUL),
    ):
        for name in (*needed, *useful):
            try:
                av.Codec(name, mode)
            except av.codec.codec.UnknownCodecError:
                status = "missing" if name in needed else "optional"
                yield Check("codecs", f"{kind} {name}", status, "not in this FFmpeg build", cure)
            else:
                yield Check("codecs", f"{kind} {name}", "ok", "available")


def _devices() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("devices", "CPU cores", "ok", str(cores))
    try:
        import torch
    except (ImportError, OSError):
        return
    if not torch.cuda.is_available():
        yield Check(
            "devices", "CUDA", "optional", "no device: training runs on the CPU; the preset tiny is made for it"
        )
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Check("devices", f"CUDA {index}", "ok", f"{device.name}, {device.total_memory / GIB:.0f} GiB")


def _room(folder: Path) -> Iterator[Check]:
    memory = _memory_gib()
    if memory is not None:
        total, free = memory
        detail = f"{total:.1f} GiB, {free:.1f} GiB available"
        little = free < MEMORY_ADVISED_GIB
        cure = f"close other programs or use fewer workers; {MEMORY_ADVISED_GIB:.0f} GiB are advised" if little else ""
        yield Check("room", "memory", "note" if little else "ok", detail, cure)
    free = shutil.disk_usage(folder).free / GIB
    status = "missing" if free < DISK_NEEDED_GIB else "note" if free < DISK_ADVISED_GIB else "ok"
    cure = "" if status == "ok" else f"free some space in {folder}; {DISK_ADVISED_GIB:.0f} GiB are advised"
    yield Check("room", "free disk", status, f"{free:.1f} GiB in {folder}", cure)
    if not os.access(folder, os.W_OK):
        yield Check("room", "folder", "missing", f"{folder} cannot be written", "change to a folder of your own")


def _memory_gib() -> tuple[float, float] | None:
    """Total and available memory where the system tells (Linux), else None."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = {name: int(rest.split()[0]) / 2**20 for name, _, rest in (line.partition(":") for line in lines)}
    return sizes["MemTotal"], sizes["MemAvailable"]
