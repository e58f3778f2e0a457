"""Noise levels that end in noise alone (Lin et al. 2024, arXiv 2305.08891, sections 3.1 to 3.4).

Stable Diffusion's last level keeps a trace of the image, which tells a network in training what
large areas look like; sampling starts without. Of a colour map, flat as it is, the trace tells
where what is, and a network learns to read it instead of the caption. Rescaled levels keep no
trace, and the sampler begins at the last one. Guidance then drives colours out of their range
unless they are scaled back.
"""

from __future__ import annotations

import inspect
from typing import Any

from mf_plugin.errors import InputError

VELOCITY = "v_prediction"
GUIDANCE_RESCALE = 0.7  # section 3.4: the share of guided predictions that is scaled back
_RESCALED = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def check_velocity(scheduler: Any) -> None:
    """InputError unless velocity is predicted: of noise alone, epsilon says nothing."""
    kind = scheduler.config.prediction_type
    if kind != VELOCITY:
        raise InputError(
            f"zero_terminal_snr is True; expected a base that predicts {VELOCITY!r}, not {kind!r}"
        )


def end_in_noise(scheduler: Any) -> Any:
    """The same scheduler of diffusers with rescaled levels.

    Raises:
        InputError: it cannot rescale them, or predicts something else than velocity.
    """
    check_velocity(scheduler)
    kind = type(scheduler)
    missing = _RESCALED.keys() - inspect.signature(kind.__init__).parameters.keys()
    if missing:
        raise InputError(
            f"{kind.__name__} has no {sorted(missing)[0]}, which this model's noise asks for; "
            "expected another scheduler, DDIMScheduler for one"
        )
    return kind.from_config(scheduler.config, **_RESCALED)
