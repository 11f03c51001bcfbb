"""The film inside kornia's augmentation containers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

pytest.importorskip("kornia", reason="the kornia extra is not installed")

from kornia.augmentation import AugmentationSequential, RandomHorizontalFlip, VideoSequential

from lps_sim import Camera, FilmModel
from lps_sim.seal import LensPrivacySeal
from lps_sim.seal_kornia import RandomLensPrivacySeal

CAMERA = Camera.from_field_of_view(24, 16, 70.0)


def frames(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def random_seal(**options) -> RandomLensPrivacySeal:
    return RandomLensPrivacySeal(FilmModel.load("rough"), (1, 4, 8), CAMERA, **options)


def test_each_sample_of_an_augmentation_sequential_gets_the_layers_in_its_parameters():
    torch.manual_seed(0)
    augment = random_seal(noise=False)
    pipeline = AugmentationSequential(RandomHorizontalFlip(p=0.0), augment, data_keys=["input", "mask"])
    x, mask = frames(6, 3, 16, 24), torch.ones(6, 1, 16, 24)
    y, same_mask = pipeline(x, mask)
    drawn = augment._params["layers"].tolist()
    assert len(set(drawn)) > 1
    torch.testing.assert_close(y, augment.seal(x, layers=drawn))
    torch.testing.assert_close(same_mask, mask)


def test_the_same_parameters_give_the_same_frames_noise_included():
    torch.manual_seed(0)
    pipeline = AugmentationSequential(random_seal(), data_keys=["input"])
    x = frames(4, 3, 16, 24)
    first = pipeline(x)
    params = pipeline._params
    assert torch.equal(pipeline(x, params=params), first)
    assert not torch.equal(pipeline(x), first)
    torch.manual_seed(0)
    assert torch.equal(pipeline(x), first)
    shared = RandomLensPrivacySeal(FilmModel.load("rough"), 4, CAMERA)
    assert float((shared(x) - shared(x)).std()) > 1e-3


def test_a_clip_has_one_film_and_fresh_noise_in_every_frame():
    torch.manual_seed(1)
    clean, noisy = random_seal(noise=False), random_seal()
    still = frames(5, 1, 3, 16, 24).expand(-1, 3, -1, -1, -1)
    y = VideoSequential(clean, data_format="BTCHW", same_on_frame=True)(still)
    torch.testing.assert_close(y, y[:, :1].expand_as(y), rtol=0, atol=1e-6)
    assert len(set(clean._params["layers"].tolist())) > 1
    y = VideoSequential(noisy, data_format="BTCHW", same_on_frame=True)(still)
    assert float((y[:, 0] - y[:, 1]).std()) > 1e-3
    swapped = VideoSequential(clean, data_format="BCTHW")(still.transpose(1, 2))
    assert swapped.shape == (5, 3, 3, 16, 24)


def test_skipped_samples_stay_and_a_whole_batch_can_share_a_number_of_layers():
    torch.manual_seed(2)
    x = frames(8, 3, 16, 24)
    augment = random_seal(p=0.5, noise=False)
    y = augment(x)
    chosen = augment._params["batch_prob"] > 0.5
    assert chosen.any()
    assert torch.equal(y[~chosen], x[~chosen])
    assert ((y[chosen] - x[chosen]).flatten(1).abs().amax(1) > 0.01).all()
    shared = random_seal(same_on_batch=True)
    shared(x)
    assert len(set(shared._params["layers"].tolist())) == 1


def test_it_is_the_plain_module_with_gradients_sizes_and_types():
    augment = RandomLensPrivacySeal(FilmModel.load("rough"), 4, CAMERA, output_size=(12, 8), noise=False)
    plain = LensPrivacySeal(FilmModel.load("rough"), 4, CAMERA, (12, 8), noise=False)
    x = frames(2, 3, 16, 24).requires_grad_()
    y = augment(x)
    torch.testing.assert_close(y, plain(x))
    y.sum().backward()
    assert x.grad.abs().max() > 0
    assert augment(x.detach().bfloat16()).dtype == torch.bfloat16


def test_the_plain_module_does_not_load_kornia_and_the_film_does_not_load_torch():
    code = "import sys, lps_sim, lps_sim.seal_plan; assert 'torch' not in sys.modules; import lps_sim.seal; "
    subprocess.run([sys.executable, "-c", code + "assert 'kornia' not in sys.modules"], check=True)


def test_missing_kornia_is_named_with_the_cure():
    code = "import sys; sys.modules['kornia.augmentation'] = None; import lps_sim.seal_kornia"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert "lps_sim.seal_kornia needs kornia: pip install 'lens-privacy-sealing[kornia]'" in result.stderr
