"""The films that calibration sets are made of; all of them simulated, none measured."""

from __future__ import annotations

from .transport import FilmParameters

FILMS: dict[str, FilmParameters] = {
    # The film of the published example set: rough back face and cloudy bulk.
    "example": FilmParameters(n=1.52, tau1=0.26, g1=0.86, tau2=0.04, g2=0.6, tau_abs=0.004, alpha=0.026),
    # Smooth faces: the image survives ten layers under 86 % haze (unscattered share of the transmitted light 0.116).
    "bulk-haze": FilmParameters(n=1.5, tau1=0.2155, g1=0.92, tau_abs=0.004),
    # A coarse face: 83 % haze at four layers, and nothing unscattered.
    "matte": FilmParameters(n=1.5, tau1=0.1, g1=0.85, tau_abs=0.004, alpha=0.083),
    # Long-tailed slopes: the core itself has a skirt.
    "rough-ggx": FilmParameters(n=1.5, tau1=0.1, g1=0.85, tau_abs=0.004, alpha=0.02, ggx=True),
    # A narrow and a wide kind of event in the bulk, smooth faces.
    "two-bulk": FilmParameters(n=1.5, tau1=0.06, g1=0.75, tau2=0.9, g2=0.995, tau_abs=0.004),
    # Rough patches on an almost clear sheet: what is lost from the unscattered part does not grow with the angle.
    "patches": FilmParameters(n=1.49, tau1=0.03, g1=0.9, tau_abs=0.002, p_flat=0.3, alpha=0.06),
}
