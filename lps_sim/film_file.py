"""The film file: one HDF5 file a film, versioned, bit-exact; and the presets, one readable YAML file a film."""

from __future__ import annotations

import importlib.resources
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .errors import UnknownNameError
from .files import atomic_path
from .film import FilmGeometry, FilmModel
from .scattering import Scattering

SCHEMA = "lps-film"
SCHEMA_VERSION = 2  # 2: the layer law, the systematic covariance
_SPREADS = ("covariance", "systematic_covariance", "jackknife_spread")


def save_film(film: FilmModel, path: str | os.PathLike[str]) -> None:
    """Write ``film`` to ``path``; an interrupted write leaves no file or the older one."""
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(
            schema=SCHEMA,
            schema_version=SCHEMA_VERSION,
            package_version=__version__,
            name=film.name,
            family=film.family,
            layer_law=film.layer_law,
            checksum=film.checksum(),
        )
        file["sigma_rad"] = film.sigma_rad
        for index, component in enumerate(film.components):
            group = file.create_group(f"components/{index}")
            group.attrs["kind"] = component.kind
            for key in ("tau", "s_rad", "beta"):
                group[key] = getattr(component, key)
        file["transmittance/c1"], file["transmittance/c2"] = film.c1, film.c2
        for group_name, table in (("transmittance", film.transmittance_table), ("veil", film.veil_table)):
            file[f"{group_name}/layers"] = np.array(list(table), dtype=np.int64)
            file[f"{group_name}/level"] = np.array(list(table.values()), dtype=float).reshape(-1, 3)
        file.create_group("geometry").attrs.update(asdict(film.geometry))
        fit = file.create_group("fit")
        fit.attrs["parameter_names"] = json.dumps(film.parameter_names)
        fit.attrs["quality"] = json.dumps(film.fit_quality)
        for key in _SPREADS:
            if getattr(film, key) is not None:
                fit[key] = getattr(film, key)
        # A tall provenance (hundreds of shots with hashes) passes HDF5's 64 kB attribute limit, so it is a data set.
        file["provenance"] = json.dumps(dict(film.provenance))
        if film.calibration_camera is not None:
            file["calibration_camera"] = json.dumps(dict(film.calibration_camera))


def load_film(name_or_path: str | os.PathLike[str]) -> FilmModel:
    """A film from an HDF5 film file or, when no such file exists, a preset of that name (see FilmModel.load)."""
    path = Path(name_or_path)
    text = os.fspath(name_or_path)
    if path.is_file():
        return _read(path)
    if path.is_dir():
        raise ValueError(f"{text}: a directory, not a film file")
    if text in preset_names():
        return load_preset(text)
    if path.suffix in (".h5", ".hdf5") or path.parent != Path("."):
        raise ValueError(f"{text}: no such film file")
    raise UnknownNameError("film", text, preset_names())


def _read(path: Path) -> FilmModel:
    import h5py

    if not h5py.is_hdf5(path):
        raise ValueError(f"{path}: not a film file (not HDF5)")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("schema") != SCHEMA:
                raise ValueError(f"{path}: an HDF5 file, but not a film file")
            version = int(file.attrs["schema_version"])
            if not 1 <= version <= SCHEMA_VERSION:
                raise ValueError(
                    f"{path}: film file schema {version}, but this version of the package reads 1..{SCHEMA_VERSION}; "
                    "install a newer one"
                )
            film = _film_from(file)
            stored = file.attrs["checksum"]
    except (KeyError, OSError) as error:
        raise ValueError(f"{path}: damaged film file ({' '.join(str(error).split())})") from error
    if film.checksum() != stored:
        raise ValueError(f"{path}: damaged film file (checksum differs)")
    return film


def _film_from(file: Any) -> FilmModel:
    """FilmModel from an open h5py file of the present schema."""
    components = file.get("components", {})
    geometry = {key: value.item() if hasattr(value, "item") else value for key, value in file["geometry"].attrs.items()}
    fit = file["fit"]
    camera = file.get("calibration_camera")
    return FilmModel(
        name=file.attrs["name"],
        family=file.attrs["family"],
        sigma_rad=file["sigma_rad"][()],
        components=tuple(
            Scattering(group.attrs["kind"], group["tau"][()], group["s_rad"][()], group["beta"][()])
            for group in (components[str(index)] for index in range(len(components)))
        ),
        c1=file["transmittance/c1"][()],
        c2=file["transmittance/c2"][()],
        veil_table=_table(file["veil"]),
        transmittance_table=_table(file["transmittance"]),
        geometry=FilmGeometry(**geometry),
        layer_law=file.attrs.get("layer_law", "poisson"),
        provenance=json.loads(file["provenance"].asstr()[()]),
        parameter_names=tuple(json.loads(fit.attrs["parameter_names"])),
        **{key: fit[key][()] for key in _SPREADS if key in fit},
        calibration_camera=None if camera is None else json.loads(camera.asstr()[()]),
        fit_quality=tuple(json.loads(fit.attrs["quality"])),
    )


def _table(group: Any) -> dict[int, Any]:
    """Layers -> (3,) of a stored table; files of schema 1 have none for the transmittance."""
    if "layers" not in group:
        return {}
    return dict(zip(group["layers"][()].tolist(), group["level"][()]))


def preset_names() -> list[str]:
    """Names of the presets: the YAML files in ``lps_sim/presets``."""
    folder = importlib.resources.files("lps_sim.presets")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_preset(name: str) -> FilmModel:
    """A preset by name; an unknown name raises UnknownNameError with the nearest one."""
    import yaml

    if name not in preset_names():
        raise UnknownNameError("film", name, preset_names())
    text = (importlib.resources.files("lps_sim.presets") / f"{name}.yaml").read_text(encoding="utf-8")
    return film_from_mapping(name, yaml.safe_load(text))


def film_from_mapping(name: str, data: Mapping[str, Any]) -> FilmModel:
    """FilmModel from a preset's mapping, with angles in degrees as in the YAML files.

    Keys: family, sigma_deg, components (kind, tau, s_deg, beta), transmittance (c1, c2), veil (layers -> rgb),
    geometry, camera (optional), provenance. An unknown key raises UnknownNameError.
    """
    known = ("family", "sigma_deg", "components", "transmittance", "veil", "geometry", "camera", "provenance")
    for key in data:
        if key not in known:
            raise UnknownNameError(f"film {name!r} key", str(key), known)
    return FilmModel(
        name=name,
        family=data["family"],
        sigma_rad=np.radians(data.get("sigma_deg", 0.0)),
        components=tuple(
            Scattering(item["kind"], item["tau"], np.radians(item["s_deg"]), item.get("beta", 1.5))
            for item in data.get("components", [])
        ),
        c1=data["transmittance"]["c1"],
        c2=data["transmittance"]["c2"],
        veil_table=data.get("veil", {}),
        geometry=FilmGeometry(**data.get("geometry", {})),
        provenance={**data["provenance"], "package_version": __version__},
        calibration_camera=data.get("camera"),
    )
