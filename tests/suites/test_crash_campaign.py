"""A short crash campaign; the long one is `python -m tests.crash_campaign --kills 200`."""

from pathlib import Path

import pytest

from tests.crash_campaign import campaign, cases, main


def test_what_is_killed_at_random_moments_and_continued_equals_what_was_not(tmp_path: Path) -> None:
    tallies = campaign(cases(["sac"]), kills=3, seed=1, root=tmp_path)
    assert [tally.kills for tally in tallies] == [3]
    assert [tally.mismatches for tally in tallies] == [[]]


def test_a_difference_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.crash_campaign.results", lambda case, store: {str(store.root): b""})
    assert main(["--kills", "1", "--only", "zero", "--folder", str(tmp_path)]) == 1
