"""The film as a kornia augmentation: a random number of layers for every sample of a batch.

Needs kornia (the ``kornia`` extra); :mod:`lps_sim.seal` itself does not.
"""

from __future__ import annotations

from typing import Any

import torch

try:
    from kornia.augmentation import IntensityAugmentationBase2D
except ImportError as error:
    raise ImportError(
        "lps_sim.seal_kornia needs kornia: pip install 'lens-privacy-sealing[kornia]'; "
        "lps_sim.seal.LensPrivacySeal works without it"
    ) from error

from .camera import Camera
from .film import FilmModel
from .seal import Layers, LensPrivacySeal

_SEEDS = 2**31 - 1


class RandomLensPrivacySeal(IntensityAugmentationBase2D):
    """:class:`lps_sim.seal.LensPrivacySeal` for ``AugmentationSequential``, ``VideoSequential`` and the like.

    Layer counts and the seed of the noise are kornia parameters, drawn from torch's generator: the same ``params``
    give the same frames again. In a ``VideoSequential`` all frames of a clip have the same film, as they should, and
    each has its own temporal noise.

    Parameters
    ----------
    film, layers, camera, and further options by name : as in LensPrivacySeal; ``layers`` one count or those to draw
        from
    p : share of the samples that get a film; below 1 only where the frames keep their size
    same_on_batch : the same number of layers for a whole batch
    keepdim : return (C, H, W) for (C, H, W)

    Notes
    -----
    Intensity augmentations leave masks, boxes and keypoints as they are: leave ``output_size`` alone where a container
    carries them.
    """

    def __init__(
        self,
        film: FilmModel,
        layers: Layers,
        camera: Camera,
        p: float = 1.0,
        same_on_batch: bool = False,
        keepdim: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        self.seal = LensPrivacySeal(film, layers, camera, **options)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """``layers`` and ``noise_seed``, (B,) whole numbers each."""
        counts = self.seal.layers if isinstance(self.seal.layers, tuple) else (self.seal.layers,)
        drawn = torch.randint(len(counts), (1 if self.same_on_batch else batch_shape[0],))
        layers = torch.tensor(counts)[drawn].expand(batch_shape[0]).clone()
        return {"layers": layers, "noise_seed": torch.randint(_SEEDS, (batch_shape[0],))}

    def apply_transform(
        self,
        input: torch.Tensor,
        params: dict[str, torch.Tensor],
        flags: dict[str, Any],
        transform: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, 3, H, W) behind ``params["layers"]`` layers of film each."""
        layers = params["layers"].tolist()
        # One generator for the batch: a clip's frames share their parameters, but not their noise.
        generator = torch.Generator().manual_seed(int(params["noise_seed"].flatten()[0])) if self.seal.noise else None
        same = all(count == layers[0] for count in layers)
        return self.seal(input, layers[0] if same else layers, generator)
