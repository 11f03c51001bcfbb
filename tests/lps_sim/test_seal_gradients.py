"""Gradients through the twin: in the frames and in the film's parameters; learning; torch.compile."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch

from lps_sim import Camera, FilmModel
from lps_sim.film import FilmGeometry
from lps_sim.scattering import Scattering
from lps_sim.seal import LensPrivacySeal
from lps_sim.seal_film import film_of, log_parameters
from lps_sim.seal_plan import SealPlan

CAMERA = Camera.from_field_of_view(16, 12, 70.0, cos_power=4)
# Relative error of central differences of step 1e-4 in a logarithm: its square times a third derivative of order one.
JACOBIAN = 1e-6


def film(preset: str, projection: str = "equal_area", **change) -> FilmModel:
    geometry = FilmGeometry(projection, oblique_ballistic=True)
    return dataclasses.replace(FilmModel.load(preset), geometry=geometry, **change)


TWO_EVENTS = {
    "family": "2moffat",
    "components": (Scattering("moffat", 0.3, [0.2, 0.21, 0.22], 1.7), Scattering("gaussian", 0.5, 0.02)),
}
FILMS = {
    "rough": film("rough"),
    "rough, two stages": film("rough", "two_stage"),
    "smooth, on the sphere": film("bulk-haze", "sphere"),
    "smooth, stack of sheets": film("bulk-haze", layer_law="radiative"),
    "two kinds of event": film("bulk-haze", **TWO_EVENTS),
}


def frames(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Random frames away from black and white, where clipping has no slope."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=dtype) * 0.8 + 0.1


@pytest.mark.parametrize("name", ["rough, two stages", "smooth, on the sphere"])
@pytest.mark.parametrize("border", ["reflect", "dark"])
def test_the_gradient_in_the_frames_passes_gradcheck(name, border):
    seal = LensPrivacySeal(FILMS[name], 3, CAMERA, (7, 5), border, noise=False)
    assert torch.autograd.gradcheck(seal, frames(1, 3, 12, 16).requires_grad_(), fast_mode=True)


def test_the_whole_jacobian_in_the_frames_is_right_with_noise_of_a_fixed_seed():
    tiny = Camera.from_field_of_view(6, 5, 70.0)
    seal = LensPrivacySeal(FILMS["rough"], 2, tiny)

    def noisy(x: torch.Tensor) -> torch.Tensor:
        return seal(x, generator=torch.Generator().manual_seed(1))

    assert torch.autograd.gradcheck(noisy, frames(1, 1, 3, 5, 6).requires_grad_())


@pytest.mark.parametrize(("name", "border"), [*((name, "reflect") for name in FILMS), ("rough", "mean")])
def test_the_gradient_in_the_films_log_parameters_passes_gradcheck(name, border):
    seal = LensPrivacySeal(FILMS[name], 3, CAMERA, (7, 5), border, noise=False, learn_film=True)
    x = frames(1, 3, 12, 16)
    names = [key for key, _ in seal.named_parameters()]
    seal.plan(12, 16, dtype=torch.float64)

    def behind(*logs: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(seal, dict(zip(names, logs)), (x,))

    logs = [value.detach().clone().requires_grad_() for value in seal.parameters()]
    assert len(logs) == 3 + ("rough" in name)
    assert torch.autograd.gradcheck(behind, logs, fast_mode=True)


def test_the_slope_in_sigma_is_the_gaussians_own():
    """A Gaussian film: d exp(-2 N (pi sigma q)^2) / d log sigma = -4 N (pi sigma q)^2 exp(...)."""
    gauss = FilmModel("gauss", "gaussian", np.full(3, 0.05), (), np.zeros(3), np.zeros(3))
    plan = SealPlan(gauss, 4, CAMERA, "reflect")
    stage = plan.stages[0]
    q_y, q_x = (np.arange(count) / (2 * count * pitch) for count, pitch in zip(stage.shape, stage.pitch_rad))
    exponent = 2 * 4 * (np.pi * 0.05) ** 2 * (q_y[:, None] ** 2 + q_x**2)
    known = -2 * exponent * np.exp(-exponent) / (stage.spline[0][:, None] * stage.spline[1])

    seal = LensPrivacySeal(gauss, 4, CAMERA, noise=False, learn_film=True)
    from lps_sim.seal_film import film_tensors

    tensors = film_tensors(gauss, plan.film_arrays, dict(seal.named_parameters()), torch.float64)
    weight = torch.rand(known.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (tensors["response.0"][1] * weight).sum().backward()
    # The spline through 4096 frequencies is good to 1e-7.
    np.testing.assert_allclose(seal.log_sigma_rad.grad[1], (known * weight.numpy()).sum(), rtol=10 * JACOBIAN)
    assert float(seal.log_sigma_rad.grad[0]) == 0


def test_log_parameters_give_the_film_back():
    for known in FILMS.values():
        logs = {name: value.detach().numpy() for name, value in log_parameters(known).items()}
        again = film_of(known, logs)
        np.testing.assert_allclose(again.sigma_rad, known.sigma_rad, rtol=1e-14)
        for one, other in zip(again.components, known.components):
            for field in ("tau", "s_rad", "beta"):
                np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-14)


def test_a_film_is_learnt_from_what_was_seen_through_it():
    """Start 30 % off in sigma and tau; a few quasi-Newton steps on one frame find both again, channel by channel."""
    truth = film("rough", sigma_rad=np.array([0.016, 0.018, 0.02]))
    wide = Camera.from_field_of_view(48, 36, 70.0)
    x = torch.rand((1, 3, 36, 48), generator=torch.Generator().manual_seed(0), dtype=torch.float64).round()
    seen = LensPrivacySeal(truth, 2, wide, noise=False)(x).detach()
    seal = LensPrivacySeal(truth, 2, wide, noise=False, learn_film=True)
    with torch.no_grad():
        seal.log_sigma_rad += 0.3
        seal.log_tau -= 0.3
    for name in ("log_s_rad", "log_beta"):
        getattr(seal, name).requires_grad_(False)
    learned = [seal.log_sigma_rad, seal.log_tau]
    optimiser = torch.optim.LBFGS(learned, max_iter=25, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = 1e4 * ((seal(x) - seen) ** 2).mean()
        value.backward()
        return value

    optimiser.step(loss)
    np.testing.assert_allclose(seal.film.sigma_rad, truth.sigma_rad, rtol=1e-2)
    np.testing.assert_allclose(seal.film.components[0].tau, truth.components[0].tau, rtol=1e-2)


def test_gradients_reach_every_sample_whatever_its_number_of_layers():
    seal = LensPrivacySeal(FILMS["rough"], (0, 2, 5), CAMERA, noise=False, learn_film=True)
    x = frames(4, 2, 3, 12, 16, dtype=torch.float32).requires_grad_()
    seal(x, layers=[5, 0, 2, 5]).sum().backward()
    assert (x.grad.flatten(1).abs().amax(1) > 0).all()
    assert all(float(value.grad.abs().max()) > 0 for value in seal.parameters())


def test_black_and_white_frames_have_finite_gradients():
    x = torch.zeros((2, 1, 3, 12, 16))
    x[1] = 1
    x.requires_grad_()
    LensPrivacySeal(FILMS["smooth, on the sphere"], 3, CAMERA)(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_a_module_first_used_in_inference_mode_can_be_trained_through_afterwards():
    seal = LensPrivacySeal(FILMS["rough"], 3, CAMERA)
    x = frames(1, 3, 12, 16, dtype=torch.float32)
    with torch.inference_mode():
        seal(x)
    x.requires_grad_()
    seal(x).sum().backward()
    assert x.grad.abs().max() > 0


@pytest.mark.parametrize(("name", "border"), [("rough, two stages", "reflect"), ("smooth, on the sphere", "mean")])
def test_the_planned_module_compiles_without_graph_breaks(name, border):
    torch.compiler.reset()
    seal = LensPrivacySeal(FILMS[name], 3, CAMERA, (7, 5), border, noise=False)
    seal.plan(12, 16)
    compiled = torch.compile(seal, fullgraph=True, backend="aot_eager")
    x = frames(2, 2, 3, 12, 16, dtype=torch.float32).requires_grad_()
    torch.testing.assert_close(compiled(x), seal(x), rtol=0, atol=1e-6)
    slopes = [torch.autograd.grad(module(x).square().sum(), x)[0] for module in (compiled, seal)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-5)


def test_several_layer_counts_noise_and_bfloat16_compile_too():
    torch.compiler.reset()
    seal = LensPrivacySeal(FILMS["rough"], (0, 2, 5), CAMERA)
    seal.plan(12, 16)
    compiled = torch.compile(seal, fullgraph=True, backend="eager")
    y = compiled(frames(3, 1, 3, 12, 16).bfloat16(), layers=[0, 5, 2])
    assert y.dtype == torch.bfloat16
    assert y.shape == (3, 1, 3, 12, 16)


def test_compiling_an_unplanned_size_says_what_to_do():
    torch.compiler.reset()
    seal = LensPrivacySeal(FILMS["rough"], 2, CAMERA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception, match=r"seal\.plan\(12, 16\)"):
            torch.compile(seal, fullgraph=True, backend="eager")(frames(1, 3, 12, 16, dtype=torch.float32))
