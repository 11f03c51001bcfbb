"""The torch twin against the numpy engine: the same light, noise like the Degrader's, and what batches add."""

from __future__ import annotations

import copy
import dataclasses
import functools

import numpy as np
import pytest
import torch

from lps_sim import Camera, Degrader, FilmModel
from lps_sim.film import FilmGeometry
from lps_sim.media import iter_frames
from lps_sim.operator import BORDERS, apply_film
from lps_sim.seal import LensPrivacySeal
from lps_sim.transfer import EOTF_NAMES, eotf_srgb, inverse_eotf, inverse_eotf_srgb

QUARTER_CODE = 0.25  # the promise: twin against numpy, 8-bit scale, before rounding, noise off
HALF_A_CODE = 0.5  # the fast engine's promise against the exact one, and so the twin's
SIZE = (192, 108)
PROJECTIONS = ["sphere", "equal_area", "direction_cosines", "two_stage", "pixel"]


@pytest.fixture(scope="module")
def street(bikes_path) -> np.ndarray:
    """A frame of a real street, 272 x 640."""
    return next(iter(iter_frames(bikes_path)))


def scenes(width: int, height: int, street: np.ndarray) -> dict[str, np.ndarray]:
    rows = np.linspace(0, street.shape[0] - 1, height).round().astype(int)
    columns = np.linspace(0, street.shape[1] - 1, width).round().astype(int)
    board = 255 * ((np.arange(height)[:, None] // 8 + np.arange(width)[None, :] // 8) % 2)
    pixel = np.zeros((height, width, 3), np.uint8)
    pixel[height // 3, width // 4] = 255
    return {
        "street": street[np.ix_(rows, columns)],
        "checkerboard": np.repeat(board[..., None], 3, axis=2).astype(np.uint8),
        "single pixel": pixel,
    }


def batch(*frames: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(B, 1, 3, H, W) in [0, 1] of 8-bit frames."""
    return torch.from_numpy(np.stack(frames)).to(torch.float64).div(255).permute(0, 3, 1, 2)[:, None].to(dtype)


def worst_codes(seal: LensPrivacySeal, degrader: Degrader, pictures: dict[str, np.ndarray]) -> float:
    """Largest difference between twin and numpy engine, both before rounding, in 8-bit codes."""
    got = 255 * seal(batch(*pictures.values()))[:, 0].permute(0, 2, 3, 1).double().numpy()
    want = [np.clip(degrader.signal(picture).astype(np.float64), 0, 1) for picture in pictures.values()]
    return float(np.abs(got - 255 * inverse_eotf(np.stack(want), degrader.camera.transfer)).max())


@functools.cache
def camera(width: int = SIZE[0], height: int = SIZE[1]) -> Camera:
    return Camera.from_field_of_view(width, height, 70.0)


@pytest.mark.parametrize("layers", [0, 1, 4, 8, 10])
@pytest.mark.parametrize("preset", ["bulk-haze", "rough", "matte", "p3ar-10layer"])
def test_twin_and_numpy_differ_by_less_than_a_quarter_code(preset, layers, street):
    film = FilmModel.load(preset)
    pictures = scenes(*SIZE, street)
    for output in (None, (64, 64)):
        seal = LensPrivacySeal(film, layers, camera(), output, noise=False)
        degrader = Degrader(film, layers, camera(), output, noise=False)
        assert worst_codes(seal, degrader, pictures) <= QUARTER_CODE, output


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(
    ("projection", "preset"),
    [*((name, "rough") for name in PROJECTIONS), ("sphere", "bulk-haze"), ("pixel", "bulk-haze")],
)
def test_every_geometry_and_border_agrees(projection, preset, border, street):
    film = dataclasses.replace(FilmModel.load(preset), geometry=FilmGeometry(projection, oblique_ballistic=True))
    small = Camera.from_field_of_view(96, 54, 70.0, cos_power=4, vignetting=(-0.1,), exposure=1.5, eotf="bt709")
    seal = LensPrivacySeal(film, 6, small, noise=False, border=border)
    degrader = Degrader(film, 6, small, noise=False, border=border)
    assert worst_codes(seal, degrader, scenes(96, 54, street)) <= QUARTER_CODE


@pytest.mark.parametrize("output", [(300, 200), (37, 200), (64, 20), (1, 1)])
def test_any_output_size_agrees_up_and_down(output, street):
    film = FilmModel.load("bulk-haze")
    seal = LensPrivacySeal(film, 2, camera(), output, noise=False)
    degrader = Degrader(film, 2, camera(), output, noise=False)
    assert worst_codes(seal, degrader, scenes(*SIZE, street)) <= QUARTER_CODE


def test_transforms_by_fft_and_by_product_agree_and_large_frames_match_numpy(street, monkeypatch):
    """Odd and even grids: a film sharp enough to be computed on single pixels."""
    film = FilmModel.load("p3ar-10layer")
    pictures = scenes(*SIZE, street)
    by_product = LensPrivacySeal(film, 1, camera(), noise=False)(batch(*pictures.values()))
    monkeypatch.setattr("lps_sim.seal_optics.DENSE_COSINES", 0)
    by_fft = LensPrivacySeal(film, 1, camera(), noise=False)
    assert (255 * (by_fft(batch(*pictures.values())) - by_product)).abs().max() < 0.01  # float32 sums
    assert worst_codes(by_fft, Degrader(film, 1, camera(), noise=False), pictures) <= QUARTER_CODE


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 350])
def test_cosine_transform_is_orthonormal_and_scipys(count, monkeypatch):
    from scipy.fft import dctn

    from lps_sim.seal_optics import Cosines

    values = np.random.default_rng(0).random((1, 3, count, 5))
    for limit in (0, 1000):
        monkeypatch.setattr("lps_sim.seal_optics.DENSE_COSINES", limit)
        transform = Cosines((count, 5), torch.float64)
        spectrum = transform(torch.from_numpy(values))
        np.testing.assert_allclose(spectrum.numpy(), dctn(values, axes=(2, 3), norm="ortho"), atol=1e-12)
        np.testing.assert_allclose(transform(spectrum, inverse=True).numpy(), values, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 8])
def test_the_twin_is_as_near_to_the_exact_engine_as_the_fast_one(layers, street):
    film = FilmModel.load("rough")
    picture = scenes(*SIZE, street)["street"]
    exact = 255 * inverse_eotf_srgb(apply_film(eotf_srgb(picture / 255.0), film, layers, camera()))
    got = 255 * LensPrivacySeal(film, layers, camera(), noise=False)(batch(picture))[0, 0].permute(1, 2, 0)
    assert np.abs(got.numpy() - exact).max() <= HALF_A_CODE


@pytest.mark.parametrize("curve", [*EOTF_NAMES, "gamma:2.4"])
def test_transfer_curves_are_those_of_numpy_with_finite_slopes_at_black(curve):
    from lps_sim import seal_curves, transfer

    values = torch.linspace(0, 1.2, 1001, dtype=torch.float64)
    for twin, known in ((seal_curves.eotf, transfer.eotf), (seal_curves.inverse_eotf, transfer.inverse_eotf)):
        np.testing.assert_allclose(twin(values, curve).numpy(), known(values.numpy(), curve), atol=1e-5)
        black = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        twin(black, curve).sum().backward()
        assert torch.isfinite(black.grad).all()
    assert torch.autograd.gradcheck(
        lambda x: seal_curves.eotf(x, curve), torch.tensor([0.3, 0.9]).double().requires_grad_()
    )


def test_a_measured_curve_is_that_of_numpy():
    from lps_sim import seal_curves

    response = tuple(np.linspace(0, 1, 33) ** 1.7)
    curve = Camera(8, 8, 9.0, eotf="measured", response=response).transfer
    values = np.linspace(0, 1.1, 777)
    np.testing.assert_allclose(
        seal_curves.eotf(torch.from_numpy(values), curve).numpy(), curve.eotf(values), atol=1e-12
    )
    back = seal_curves.inverse_eotf(torch.from_numpy(values), curve).numpy()
    np.testing.assert_allclose(back, curve.inverse_eotf(values), atol=1e-12)


# -- batches, types, devices ------------------------------------------------------------------------------------------


def noise_free(layers=(1, 4, 8), **options) -> LensPrivacySeal:
    return LensPrivacySeal(FilmModel.load("rough"), layers, camera(48, 32), noise=False, **options)


def random_frames(samples: int, frames: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand((samples, frames, 3, 32, 48), generator=torch.Generator().manual_seed(seed))


def test_every_sample_goes_through_its_own_number_of_layers():
    seal, x = noise_free(), random_frames(5)
    mixed = seal(x, layers=[4, 0, 1, 4, 8])
    for index, count in enumerate([4, 0, 1, 4, 8]):
        torch.testing.assert_close(mixed[index], seal(x[index : index + 1], layers=count)[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(mixed, seal(x, layers=torch.tensor([4, 0, 1, 4, 8])), rtol=0, atol=0)


def test_drawn_layer_counts_follow_the_generator_and_are_even():
    seal, x = noise_free(), random_frames(30, 1)
    first, again, other = (seal(x, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)
    drawn = seal._counts_of(3000, None, torch.Generator().manual_seed(0))
    shares = [drawn.count(count) / 3000 for count in (1, 4, 8)]
    assert max(abs(share - 1 / 3) for share in shares) < 0.035  # four standard errors


def test_frames_of_a_clip_and_single_images_are_the_same_light():
    seal, x = noise_free(4), random_frames(2, 3)
    torch.testing.assert_close(seal(x).flatten(0, 1), seal(x.flatten(0, 1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_type_is_kept_and_halves_are_only_rounded_once_at_the_end(dtype):
    seal = noise_free(4)
    x = random_frames(2).to(dtype)
    y = seal(x)
    assert y.dtype == dtype
    if dtype != torch.float64:
        assert torch.equal(y, seal(x.float()).to(dtype))
    else:
        torch.testing.assert_close(y.float(), seal(x.float()), rtol=0, atol=1e-5)


def test_casting_the_module_and_autocast_cost_no_precision():
    x = random_frames(2)
    want = noise_free(4)(x)
    halved = noise_free(4)
    halved.plan(32, 48)
    halved = halved.to(torch.bfloat16).half()
    assert all(value.dtype == torch.float64 for value in halved.parameters())
    assert torch.equal(halved(x), want)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(noise_free(4)(x), want)


def test_frames_of_another_size_are_seen_by_the_same_camera_at_that_size():
    film = FilmModel.load("rough")
    x = random_frames(1)
    adapted = LensPrivacySeal(film, 4, camera(480, 320), noise=False)(x)
    torch.testing.assert_close(adapted, LensPrivacySeal(film, 4, camera(480, 320).resized(48, 32), noise=False)(x))


def test_rounded_codes_are_whole_and_pass_the_gradient():
    x = random_frames(1).requires_grad_()
    rounded = noise_free(4, round_codes=True)(x)
    np.testing.assert_allclose((255 * rounded.detach()).round() / 255, rounded.detach(), atol=1e-6)
    (slope,) = torch.autograd.grad(rounded.sum(), x)
    (smooth,) = torch.autograd.grad(noise_free(4)(x).sum(), x)
    torch.testing.assert_close(slope, smooth)


def test_state_dict_carries_the_film_and_old_plans_are_dropped():
    x = random_frames(1)
    other = dataclasses.replace(FilmModel.load("rough"), sigma_rad=np.full(3, 0.03))
    source, target = LensPrivacySeal(other, 4, camera(48, 32), noise=False), noise_free(4)
    before = target(x)
    target.load_state_dict(source.state_dict())
    np.testing.assert_allclose(target.film.sigma_rad, 0.03, rtol=1e-12)
    torch.testing.assert_close(target(x), source(x), rtol=0, atol=0)
    assert (target(x) - before).abs().max() > 0.01
    assert set(source.state_dict()) == {"log_sigma_rad", "log_tau", "log_s_rad", "log_beta"}
    torch.testing.assert_close(copy.deepcopy(source)(x), source(x), rtol=0, atol=0)


def test_a_film_changed_in_place_is_seen_by_the_next_frame():
    seal, x = noise_free(4), random_frames(1)
    before = seal(x)
    with torch.no_grad():
        seal.log_sigma_rad += 1
    assert (seal(x) - before).abs().max() > 0.01


def test_parameters_put_in_for_one_call_hold_for_that_call_alone():
    seal, x = noise_free(4), random_frames(1)
    before = seal(x)
    wider = [
        torch.func.functional_call(seal, {"log_sigma_rad": seal.log_sigma_rad.detach() + shift}, (x,))
        for shift in (1.0, 2.0)
    ]
    assert (wider[0] - before).abs().max() > 0.01
    assert (wider[1] - wider[0]).abs().max() > 0.01
    assert torch.equal(seal(x), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_frames():
    x = random_frames(4)
    y = noise_free()(x.cuda(), layers=[1, 4, 8, 4])
    assert y.device.type == "cuda"
    assert (255 * (y.cpu() - noise_free()(x, layers=[1, 4, 8, 4]))).abs().max() < QUARTER_CODE


# -- noise ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", [None, (24, 16)])
def test_noise_has_the_camera_models_variance_and_does_not_repeat(output):
    linear = dataclasses.replace(camera(48, 32), eotf="linear", full_well_e=2000.0, read_noise_e=8.0, prnu=0.01)
    seal = LensPrivacySeal(FilmModel.load("rough"), 2, linear, output, source_eotf="linear")
    x = torch.full((1, 400, 3, 32, 48), 0.6)
    y = seal(x, generator=torch.Generator().manual_seed(3))[0].double()
    seal.noise = False
    signal = seal(x[:, :1])[0].double()
    averaged = 1 if output is None else 4
    variance = (signal / 2000 + (8 / 2000) ** 2) / averaged
    assert float((y.var(dim=0) / variance).mean()) == pytest.approx(1, rel=0.01)  # 400 x 1152 samples or more: 0.2 %
    pattern = (y.mean(dim=0, keepdim=True) - signal) / signal
    fixed = float(pattern.var() - (variance / signal**2).mean() / 400)
    assert fixed == pytest.approx(0.01**2 / averaged, rel=0.2)  # 1152 pixels: 5 %
    seal.noise = True
    deviation = y - y.mean(dim=0)
    correlation = (deviation[1:] * deviation[:-1]).mean() / deviation.var()
    assert abs(float(correlation) + 1 / 400) < 0.01  # the mean of 400 frames is taken off
    other = seal(x[:, :2], generator=torch.Generator().manual_seed(4))
    assert not torch.equal(other[0, 0].double(), y[0])


def test_noise_is_the_same_for_the_same_generator():
    seal, x = LensPrivacySeal(FilmModel.load("rough"), (1, 8), camera(48, 32)), random_frames(3)
    first, again = (seal(x, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert float((first - seal(x, generator=torch.Generator().manual_seed(6))).std()) > 1e-3


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": -1}, "layers must be 0..64, got -1"),
        ({"layers": [1, 65]}, "layers must be 0..64, got 65"),
        ({"layers": []}, "layers must be a count or at least one count to draw from, got none"),
        ({"film": "rough"}, "film must be a FilmModel .*, got 'rough'"),
        ({"camera": 4}, "camera must be a Camera, got 4"),
        ({"border": "blak"}, "border: unknown 'blak'"),
        ({"output_size": (0, 4)}, r"output_size must be \(width, height\), each >= 1, got \(0, 4\)"),
        ({"source_eotf": "srg"}, "source_eotf: unknown 'srg'"),
    ],
)
def test_bad_settings_are_named_with_their_rule(change, message):
    arguments = {"film": FilmModel.load("rough"), "layers": 2, "camera": camera(48, 32), **change}
    with pytest.raises(ValueError, match=message):
        LensPrivacySeal(**arguments)


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros((1, 3, 8, 8), dtype=torch.uint8),
        torch.zeros(1, 1, 8, 8),
        torch.zeros(3, 8, 8),
        torch.zeros(0, 3, 8, 8),
    ],
)
def test_frames_of_another_kind_are_refused(frames):
    with pytest.raises(ValueError, match=r"frames must be floating point \(B, T, 3, H, W\) or \(B, 3, H, W\)"):
        noise_free()(frames)


def test_layer_counts_must_match_the_batch():
    with pytest.raises(ValueError, match=r"layers must be one count or one a sample \(2\), got 3"):
        noise_free()(random_frames(2), layers=[1, 2, 3])
