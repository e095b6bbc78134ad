"""What arrays are called where they are passed on. Apart from `values`, which collection loads without numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
