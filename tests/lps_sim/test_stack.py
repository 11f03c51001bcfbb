"""Radiative transfer through a stack, against closed forms and against photons followed one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lps_sim.film import FilmModel
from lps_sim.scattering import Scattering, moffat
from lps_sim.stack import Stack, direct_share, scattered_transfer

RESIDUE = 1e-6  # of the least absorption that keeps trapped light from circling for ever
RINGS = 2e-3  # of the light: what 44 rings hold of a halo of some degrees
SAMPLING_SD = 4.5  # standard errors: one false alarm in 10^5

HALO = ((0.3, math.radians(12.0), 1.5),)


@pytest.mark.parametrize("layers", [1, 4, 10])
def test_clear_sheets_are_a_pile_of_plates(layers):
    """Stokes 1862: 1/T = 1 + 2 N R / (1 - R) without absorption."""
    light = Stack((), 1.5).light(layers)
    assert light.transmittance == pytest.approx(1 / (1 + 2 * layers * 0.04 / 0.96), abs=RESIDUE)
    assert light.direct == pytest.approx(light.transmittance, abs=RESIDUE)


def test_no_light_is_lost_without_absorption():
    solved = Stack(HALO, 1.5)
    for layers in (1, 5):
        solved.light(layers)
        passed, reflected = solved._grown[layers - 1]
        np.testing.assert_allclose((passed + reflected).sum(axis=0), 1.0, atol=RINGS)


def test_light_that_no_reflection_disturbs_keeps_the_poisson_share():
    """Index 1: no faces; then the unscattered light is exp(-N tau) of the light that came in."""
    light = Stack(HALO, 1.0).light(4)
    assert light.direct == pytest.approx(math.exp(-1.2), rel=1e-4)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_weak_narrow_event_without_faces_keeps_the_poisson_law(layers):
    """Small angles, few of them: the transfer equation and the compound-Poisson law are the same."""
    events, q = ((0.02, math.radians(2.0), 3.0),), np.array([0.5, 2.0, 6.0, 20.0])
    law = np.exp(-layers * 0.02 * (1 - moffat(q, math.radians(2.0), 3.0)))
    solved = direct_share(events, 1.0, layers) + scattered_transfer(q, events, 1.0, layers)
    np.testing.assert_allclose(solved, law, atol=RINGS * 0.1)


def _photons(tau, s, beta, n, layers, count, rng):
    """(exit angles of the transmitted, share unscattered): every photon followed through slabs, faces and gaps."""
    cosine, sheet, scattered = np.ones(count), np.zeros(count, int), np.zeros(count, bool)
    # place: 0 above the sheet's front face going down, 1 inside going down, 2 inside going up, 3 below going up
    depth, inside = np.zeros(count), np.zeros(count, bool)
    down = np.ones(count, bool)
    angles, direct = [], 0
    alive = np.arange(count)

    def fresnel(c1, n1, n2):
        s2 = n1 / n2 * np.sqrt(np.maximum(1 - c1**2, 0))
        total = s2 >= 1
        c2 = np.sqrt(np.maximum(1 - np.minimum(s2, 1) ** 2, 0))
        rs = (n1 * c1 - n2 * c2) / (n1 * c1 + n2 * c2)
        rp = (n1 * c2 - n2 * c1) / (n1 * c2 + n2 * c1)
        return np.where(total, 1.0, (rs**2 + rp**2) / 2), c2

    while alive.size:
        a = alive
        out = a[~inside[a]]
        if out.size:
            r, c2 = fresnel(cosine[out], 1.0, n)
            enters = rng.random(out.size) >= r
            e, back = out[enters], out[~enters]
            inside[e], cosine[e], depth[e] = True, c2[enters], np.where(down[e], 0.0, 1.0)
            # Reflected in the gap: the next face is that of the neighbouring sheet.
            sheet[back] += np.where(down[back], -1, 1)
            down[back] = ~down[back]
        a = np.setdiff1d(a, out, assume_unique=True)
        if a.size:
            step = rng.exponential(1 / tau, a.size) * cosine[a]
            to_face = np.where(down[a], 1 - depth[a], depth[a])
            hits = step >= to_face
            f = a[hits]
            r, c2 = fresnel(cosine[f], n, 1.0)
            leaves = rng.random(f.size) >= r
            g = f[leaves]
            inside[g], cosine[g] = False, c2[leaves]
            sheet[g] += np.where(down[g], 1, -1)
            kept = f[~leaves]
            depth[kept] = np.where(down[kept], 1.0, 0.0)
            down[kept] = ~down[kept]
            m = a[~hits]
            depth[m] += np.where(down[m], 1, -1) * step[~hits]
            # (1 + r^2/s^2)^-beta over r^2 = (2 sin(Theta/2))^2 in 0..4, by its inverse
            u, s_in = rng.random(m.size), s / n
            whole = 1 - (1 + 4 / s_in**2) ** (1 - beta)
            square = s_in**2 * ((1 - u * whole) ** (1 / (1 - beta)) - 1)
            turn, azimuth = 1 - square / 2, rng.random(m.size) * 2 * np.pi
            old = np.where(down[m], 1, -1) * cosine[m]
            new = old * turn + np.sqrt((1 - old**2) * np.maximum(1 - turn**2, 0)) * np.cos(azimuth)
            down[m], cosine[m], scattered[m] = new > 0, np.maximum(np.abs(new), 1e-9), True
        free = ~inside[alive]
        through = alive[free & (sheet[alive] >= layers)]
        direct += int((~scattered[through]).sum())
        angles.append(np.arccos(np.minimum(cosine[through], 1.0)))
        gone = free & ((sheet[alive] >= layers) | (sheet[alive] < 0))
        alive = alive[~gone]
    return np.concatenate(angles), direct / count


def test_photons_followed_one_by_one_leave_as_the_stack_says():
    tau, s, beta, n, layers, count = 0.3, math.radians(12.0), 1.7, 1.5, 3, 60_000
    angles, direct = _photons(tau, s, beta, n, layers, count, np.random.default_rng(3))
    solved = Stack(((tau, s, beta),), n)
    light = solved.light(layers)

    def close(share, expected):
        assert abs(share - expected) < SAMPLING_SD * math.sqrt(expected * (1 - expected) / count) + RINGS

    close(angles.size / count, light.transmittance)
    close(direct, light.direct)
    for edge in (10.0, 30.0, 60.0):
        # The rings' own edges: the light up to and with the last ring below the angle.
        ring = int(np.searchsorted(solved.radius, 2 * math.sin(math.radians(edge) / 2)))
        halfway = (solved.radius[ring - 1] + solved.radius[ring]) / 2
        within = (2 * np.sin(angles / 2) < halfway).mean() * angles.size / count
        close(within, light.direct + light.rings[:ring].sum())


def test_a_film_by_the_radiative_law_is_one_at_zero_and_starts_as_its_events():
    film = FilmModel(
        "x", "ballistic+moffat", 0.0, (Scattering("moffat", 0.3, 0.2, 1.5),), 0.1, 0.0, layer_law="radiative"
    )
    for layers in (1, 4):
        np.testing.assert_allclose(film.otf(0.0, layers), 1.0, atol=1e-4)
        np.testing.assert_allclose(film.otf(1e5, layers), film.ballistic_fraction(layers), atol=1e-9)
        energy = film.encircled_energy(np.array([1e-4, 0.5, 3.0]), layers)[:, 1]
        assert energy[0] == pytest.approx(film.ballistic_fraction(layers)[1], abs=RINGS)
        assert energy[0] < energy[1] < energy[2] == pytest.approx(1.0, abs=RINGS)


def test_the_radiative_law_refuses_what_it_can_not_solve():
    with pytest.raises(ValueError, match="layer_law radiative needs a first component"):
        FilmModel("x", "gaussian", 0.01, (), 0.1, 0.0, layer_law="radiative")
    with pytest.raises(ValueError, match=r"s_rad >= 0\.0262"):
        FilmModel(
            "x", "ballistic+moffat", 0.0, (Scattering("moffat", 0.3, 0.01, 1.5),), 0.1, 0.0, layer_law="radiative"
        )
    with pytest.raises(ValueError, match="did you mean 'radiative'"):
        FilmModel("x", "gaussian", 0.01, (), 0.1, 0.0, layer_law="radiativ")
