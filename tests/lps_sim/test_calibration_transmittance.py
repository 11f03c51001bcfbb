"""From gains at some layer counts to the transmittance of any: closed forms, and what made the gains comes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lps_sim.calibration.transmittance import law_of_gains, lossless_gain, transmittance_law
from lps_sim.film import FilmGeometry, FilmModel
from lps_sim.scattering import Scattering
from lps_sim.stack import Stack

CARRIED = 0.003  # relative, of the transmittance at counts without a gain
ZERO = np.zeros(3)


def bulk_film(law: str = "radiative", index: float = 1.5) -> FilmModel:
    """A cloudy sheet."""
    event, geometry = Scattering("moffat", 0.25, np.radians(12.0), 1.6), FilmGeometry(refractive_index=index)
    return FilmModel("test", "ballistic+moffat", ZERO, (event,), ZERO, ZERO, geometry=geometry, layer_law=law)


def made(film: FilmModel, index: float, absorption: float, counts: tuple[int, ...]) -> dict[int, float]:
    """Gains that the transfer equation gives."""
    solved = Stack(film.bulk_events(0), index, absorption)
    return {n: solved.light(n).transmittance for n in counts}


@pytest.mark.parametrize(("c1", "c2"), [(0.12, 0.005), (0.09, 0.0), (0.2, 0.01)])
def test_the_two_parameters_are_recovered_from_their_gains(c1, c2):
    gains = {n: 1 / (1 + c1 * n + c2 * n * n) for n in (1, 4, 8)}
    np.testing.assert_allclose(law_of_gains(gains), (c1, c2), atol=1e-12)
    assert law_of_gains({4: 1 / 1.4}) == (pytest.approx(0.1), 0.0)


def test_neither_parameter_is_ever_negative():
    c1, c2 = law_of_gains({1: 0.9, 2: 0.85, 10: 0.75})
    assert c1 >= 0
    assert c2 == 0.0
    assert law_of_gains({1: 1.02, 4: 1.05}) == (0.0, 0.0)


def test_clear_sheets_pass_what_their_faces_do():
    """Fresnel at n = 1.5: 4 % a face; one sheet 0.923, by reflections to and fro; Stokes 1862."""
    assert lossless_gain(1.5, 1) == pytest.approx(0.96 / 1.04)
    assert lossless_gain(1.0, 5) == 1.0
    for n in (1, 4, 10):
        assert lossless_gain(1.5, n) == pytest.approx(Stack((), 1.5).light(n).transmittance, abs=1e-6)


@pytest.mark.parametrize(("index", "absorption"), [(1.5, 0.01), (1.46, 0.03), (1.53, 0.002)])
def test_index_and_absorption_come_back_and_carry_to_ten_layers(index, absorption):
    film = bulk_film(index=index)
    law = transmittance_law(film, made(film, index, absorption, (1, 2, 4)))
    assert law.refractive_index == pytest.approx(index, abs=1e-3)
    assert law.absorption == pytest.approx(absorption, abs=1e-4)
    assert law.excess < 1e-4
    for n, value in made(film, index, absorption, (3, 8, 10)).items():
        assert law.table[n] == pytest.approx(value, rel=CARRIED)


def test_gains_at_many_layers_correct_an_index_that_was_stated_wrongly():
    """1.46 said to be 1.5: few layers can not tell faces from absorption, which costs 2 % at ten; ten layers tell."""
    film = bulk_film(index=1.5)
    truth = made(film, 1.46, 0.03, (1, 4, 10))
    few = transmittance_law(film, {n: truth[n] for n in (1, 4)})
    many = transmittance_law(film, truth)
    assert few.excess < 2e-3
    assert few.table[10] == pytest.approx(truth[10], rel=0.025)
    assert abs(many.refractive_index - 1.46) < abs(few.refractive_index - 1.46) < 0.04
    assert many.table[8] == pytest.approx(made(film, 1.46, 0.03, (8,))[8], rel=CARRIED)


def test_the_table_has_the_gains_themselves_and_every_count_in_use():
    film = bulk_film()
    gains = {n: g * (1.002 if n == 4 else 1) for n, g in made(film, 1.5, 0.01, (1, 4, 20)).items()}
    law = transmittance_law(film, gains)
    assert set(law.table) == set(range(1, 21))
    assert {n: law.table[n] for n in gains} == gains
    fine = replace(film, c1=law.c1, c2=law.c2)
    for n, value in law.table.items():
        # The two-parameter law stands in for the transfer equation within 8 % over 20 sheets, where 15 % is left.
        assert fine.transmittance(n)[0] == pytest.approx(value, rel=0.08)


def test_gains_that_no_stack_of_sheets_has_are_told_by_their_excess():
    film = bulk_film()
    gains = made(film, 1.5, 0.01, (1, 2, 4))
    sound, wrong = transmittance_law(film, gains), transmittance_law(film, {**gains, 2: 0.9 * gains[2]})
    assert sound.excess < 1e-3
    assert wrong.excess > 0.04


def test_the_poisson_law_knows_nothing_but_the_gains():
    gains = {1: 0.88, 4: 0.62}
    law = transmittance_law(bulk_film("poisson"), gains)
    assert law.table == gains
    assert (law.c1, law.c2) == law_of_gains(gains)
    assert (law.absorption, law.refractive_index, law.excess) == (None, None, None)
