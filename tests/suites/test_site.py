"""Site profiles: what is right, what is wrong, and where they are found."""

from pathlib import Path

import pytest

from suites.site import Site, load_site, site_from
from wombet.errors import InputError

EXAMPLE = Path(__file__).parents[2] / "docs" / "site.toml"


def test_the_documented_example_is_a_profile_that_names_every_entry() -> None:
    site = load_site(EXAMPLE)
    assert site.model_fields_set == set(Site.model_fields)
    assert site.sbatch == {"constraint": "cpu"}


def test_the_variable_is_used_where_no_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, found = tmp_path / "named.toml", tmp_path / "found.toml"
    named.write_text("memory_gb = 2")
    found.write_text("memory_gb = 3")
    monkeypatch.setenv("WOMBET_SITE", str(found))
    assert load_site(None).memory_gb == 3
    assert load_site(named).memory_gb == 2
    monkeypatch.delenv("WOMBET_SITE")
    assert load_site(None) == Site()


def test_packs_are_never_longer_than_a_job() -> None:
    assert site_from({"time_minutes": 10}, "it").pack_seconds == 600
    assert site_from({"time_minutes": 100}, "it").pack_seconds == 1800


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('partitoin = "main"', "has no entry 'partitoin'; did you mean 'partition'?"),
        ("time_minutes = 0", "time_minutes is 0, and input should be greater than or equal to 1"),
        ('cpus = "2"', "cpus is '2', and input should be a valid integer"),
        ("time_minutes = 10\npack_minutes = 20", "pack_minutes is 20, and must be at most time_minutes"),
        ("time_minutes = 1\nsignal_seconds = 60", "signal_seconds is 60, and must be less than the job's time"),
        ("= 3", "is not valid TOML"),
    ],
)
def test_a_wrong_profile_is_named_with_its_entry(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_site(path)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)


def test_a_profile_that_is_not_there_says_who_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"there is no site profile .*gone.toml \(named by --site\)"):
        load_site(tmp_path / "gone.toml")
    monkeypatch.setenv("WOMBET_SITE", str(tmp_path / "gone.toml"))
    with pytest.raises(InputError, match=r"named by \$WOMBET_SITE"):
        load_site(None)
