"""Names of the arrays that stand in signatures; docstrings and comments give their shapes."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # [H, W, 3] RGB; sprites have alpha, too
Mask = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
AnyFloats = npt.NDArray[np.floating]
AnyInts = npt.NDArray[np.integer]
