"""Where a film hangs and in which coordinates its blur is the same for every direction."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UnknownNameError

PROJECTIONS = ("sphere", "equal_area", "direction_cosines", "two_stage", "pixel")


@dataclass(frozen=True)
class FilmGeometry:
    """How angles at the film map to the plane in which the light is convolved (film_model: 1.3).

    Parameters
    ----------
    projection : "sphere" (the same blur for every direction), "equal_area" (the same in the plane of radius
        2 sin(theta/2), which is the sphere but for a distortion of shapes), "direction_cosines" (sin theta),
        "two_stage" (rough face in direction cosines, then bulk in equal area) or "pixel" (tan theta, for comparison)
    oblique_ballistic : the unscattered part falls with obliquity, by its longer way in the sheets, exp(-N tau / cos
        theta'), sin theta' = sin theta / n, and by what the faces reflect (:func:`lps_sim.geometry.face_loss`)
    refractive_index : of the film, 1..3
    film_distance_m : camera to film d, >= 0
    target_distance_m : camera to the scene Z, > film_distance_m

    Notes
    -----
    Sigma and s of a film are angles at the film. The camera sees them smaller by 1 - d/Z (:attr:`blur_factor`), the
    shower-curtain effect: a film on the lens blurs in full, one on the scene not at all.
    """

    projection: str = "equal_area"
    oblique_ballistic: bool = False
    refractive_index: float = 1.5
    film_distance_m: float = 0.0
    target_distance_m: float = 1.0

    @property
    def blur_factor(self) -> float:
        """1 - d/Z: angle at the camera per angle at the film, above 0 and at most 1 (Dror et al. 1998)."""
        return 1.0 - self.film_distance_m / self.target_distance_m

    def __post_init__(self) -> None:
        if self.projection not in PROJECTIONS:
            raise UnknownNameError("projection", str(self.projection), PROJECTIONS)
        if not 1.0 <= self.refractive_index <= 3.0:
            raise ValueError(f"refractive_index must be 1..3, got {self.refractive_index}")
        if not 0.0 <= self.film_distance_m < self.target_distance_m:
            raise ValueError(
                "film_distance_m must be >= 0 and below target_distance_m, "
                f"got {self.film_distance_m} and {self.target_distance_m}"
            )
