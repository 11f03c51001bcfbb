"""Figures of a fit to paired material, held against their limits."""

from __future__ import annotations

import numpy as np

from .checks import Check, Status
from .pair_geometry import displacement_px, filled
from .pair_model import View
from .pair_solver import Solution
from .pair_timing import TimeMatch

HOPELESS_CORRELATION = 0.08  # of the changes in time: below it the fit is not begun
_CORRELATION = 0.15  # below it a match is doubtful
_RATIO = 1.3  # least ratio to the best elsewhere; two materials that have nothing in common come near 1
_CLIPPED = (0.02, 0.3)  # share of the frames' pixels: warn, fail
_POSITION_PX = 1.5  # rms at 640 px across
_RESIDUAL_CODES = (2.0, 5.0)  # of the filmed material: warn, fail
_FEWEST_FRAMES = 8
_LEAST_VIEW = 0.3  # of the frame's width
# A picture that had to move this far off the middle, in frame widths, was hardly found.
_FARTHEST = 0.6


def checks_of(
    view: View, solution: Solution, time: TimeMatch, clipped: float, precision_px: float, width: int
) -> list[Check]:
    """All checks of a finished fit.

    Parameters
    ----------
    view, solution : of the last search
    time : match in time
    clipped : share of clipped pixels in the frames used, 0..1
    precision_px : standard deviation of the picture's position in px of a recording ``width`` px across
    """
    ratio = time.correlation / max(time.runner_up, 1e-3)
    sure = time.correlation >= _CORRELATION and ratio >= _RATIO
    checks = [
        Check(
            "match in time",
            "ok" if sure else "warn" if ratio >= _RATIO else "fail",
            f"changes correlate by {time.correlation:.2f} at frame {time.start:.1f}, elsewhere by at most "
            f"{time.runner_up:.2f}; at least {_CORRELATION} and {_RATIO} times as much are needed",
            time.correlation,
            _CORRELATION,
            "",
            "" if sure else "check that both show the same material; give longer material or more motion",
        )
    ]
    status: Status = "ok" if clipped < _CLIPPED[0] else "warn" if clipped < _CLIPPED[1] else "fail"
    text = f"{100 * clipped:.1f} % of the frames' pixels are clipped and left out; limit {100 * _CLIPPED[0]:.0f} %"
    cure = "" if status == "ok" else "film with a shorter exposure"
    checks.append(Check("clipping", status, text, 100 * clipped, 100 * _CLIPPED[0], "%", cure))

    limit = _POSITION_PX * width / 640
    status = "ok" if precision_px < limit else "warn"
    text = f"the picture's place is known to {precision_px:.2f} px rms over the frame; limit {limit:.1f} px"
    cure = "" if status == "ok" else "use material with more contrast, or more frames"
    checks.append(Check("picture position", status, text, precision_px, limit, "px", cure))

    entries = solution.state.entries
    share = 1 / float(np.hypot(entries[0], entries[1]))
    centred = filled(share, float(np.hypot(entries[3], entries[4])) * share)
    off = float(np.median(displacement_px(entries, centred, view.size))) / view.size[1]
    status = "ok" if share >= _LEAST_VIEW and off < _FARTHEST else "warn"
    text = f"the picture fills {100 * share:.0f} % of the view's width; at least {100 * _LEAST_VIEW:.0f} % are needed"
    cure = "" if status == "ok" else "bring the camera closer to the screen"
    checks.append(Check("picture size", status, text, 100 * share, 100 * _LEAST_VIEW, "%", cure))

    left = solution.scale
    status = "ok" if left < _RESIDUAL_CODES[0] else "warn" if left < _RESIDUAL_CODES[1] else "fail"
    text = f"the fit leaves {left:.2f} codes (robust standard deviation); limit {_RESIDUAL_CODES[0]:.0f}"
    cure = "" if status == "ok" else "the film, the border or the match is wrong: try another --border or --family"
    checks.append(Check("residual", status, text, left, _RESIDUAL_CODES[0], "codes", cure))

    count = len(solution.state.gains)
    status = "ok" if count >= _FEWEST_FRAMES else "warn"
    text = f"{count} frames take part; at least {_FEWEST_FRAMES} give honest intervals"
    checks.append(Check("frames", status, text, count, _FEWEST_FRAMES, "", "" if status == "ok" else "use --frames"))
    return checks


def unresolved(blurred_px2: float, limit: float) -> Check:
    """The check of a Gaussian blur that is no wider than the recording's own, both variances in px^2."""
    text = f"the Gaussian blur has a variance of {blurred_px2:.2f} px^2; below {limit:.1f} it may be the recording's"
    cure = "fit --family ballistic+moffat too, and take the sharper of the two films for judging privacy"
    return Check("sharp part", "warn", text, blurred_px2, limit, "px^2", cure)
