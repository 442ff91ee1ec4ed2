"""CSV of long frames: byte for byte what pandas writes."""

import numpy as np
import pandas as pd
import pytest

from analysis.frames import exact_csv_of


@pytest.mark.parametrize("rows", [8, 0])
def test_a_long_frame_is_the_same_bytes_as_from_pandas(rows):
    frame = pd.DataFrame(
        {
            "float": [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-7, 1e22, 5e-324],
            'text, "quoted"': ["x,y", 'q"q', "", "a\nb", None, float("nan"), " s", "x,y"],
            "nullable": pd.array([1, None] * 4, dtype="Int64"),
            "flag": [True, False] * 4,
            "whole": range(8),
            "nothing": [None] * 8,
            "mixed": [1.5, None, "z", 3, True, 0, 0.0, -0.0],
        }
    ).iloc[:rows]
    assert exact_csv_of(frame) == frame.to_csv(index=False, lineterminator="\n")
