"""`wombet render`: a film that shows what was scored, in a file that plays, or one sentence why there is none."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suites.policy import load_policy
from suites.runner import run_cell
from suites.store import Store, read_rows
from suites.video import Film, check_video, encoded, film
from tests.suites import cells
from tests.suites.conftest import Program
from wombet.errors import InputError


@pytest.fixture
def finished(store: Store) -> Path:
    """The folder of a finished run."""
    spec = cells.cell("sac")
    assert run_cell(spec, store).ending == "done"
    return store.run_folder(spec.folder)


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw blank frames, since a machine of tests may have no way to draw others."""
    monkeypatch.setattr("gymnasium.envs.mujoco.MujocoEnv.render", lambda self: np.zeros((480, 480, 3), np.uint8))


@pytest.mark.usefixtures("blank")
@pytest.mark.parametrize("episode", [0, 1])
def test_the_film_is_of_the_recorded_episode_and_in_real_time(finished: Path, store: Store, episode: int) -> None:
    made = film(*load_policy(finished, store), finished, episode, 64)
    recorded = read_rows(finished / "evals.jsonl")[-1]["returns"][episode]
    assert made.recorded == recorded
    assert made.total == pytest.approx(recorded, abs=1e-4)
    assert made.steps == cells.HORIZON
    assert made.per_second == pytest.approx(25)
    assert len(made.frames) == 1 + made.steps // 2
    assert made.frames[0].shape == (64, 64, 3)


def test_a_gif_has_every_frame_and_repeats() -> None:
    frames = [np.full((64, 64, 3), shade, np.uint8) for shade in (0, 100, 200)]
    data = encoded(Film(frames, 20.0, 1.0, 3, None), ".gif")
    path = Path("film.gif")
    with Image.open(io.BytesIO(data)) as image:
        assert (image.n_frames, image.info["duration"], image.info["loop"]) == (3, 50, 0)
    check_video(path, 64)


@pytest.mark.usefixtures("blank")
def test_the_verb_takes_a_folder_or_an_id_and_prints_the_path_last(
    finished: Path, store: Store, wombet: Program
) -> None:
    code, out, _ = wombet("render", finished, "--size", 64)
    assert code == 0
    path = Path(out.splitlines()[-1])
    assert path.parent == store.root.resolve() / "videos"
    assert path.stat().st_size > 100
    code, out, _ = wombet(
        "render", finished.name.split("-")[-1], "--store", store.root, "--out", path.with_name("b.gif")
    )
    assert code == 0
    assert "recorded was" in out


def test_where_nothing_can_be_drawn_the_sentence_says_what_helps(
    finished: Path, store: Store, wombet: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> None:
        raise RuntimeError("no EGL\nhere")

    monkeypatch.setattr("gymnasium.envs.mujoco.MujocoEnv.render", broken)
    code, _, err = wombet("render", finished)
    assert code == 2
    assert "this machine cannot draw a simulation" in err
    assert "(no EGL here); install libegl1, or libosmesa6" in err
    assert not (store.root / "videos").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "has no run 'nothing'"),
        (["RUN", "--out", "film.avi"], "film.avi ends in '.avi'; a video ends in .gif or .mp4"),
        (["RUN", "--size", "9"], "--size is 9; it must be from 64 to 480"),
    ],
)
def test_bad_input_is_one_sentence(
    finished: Path, store: Store, wombet: Program, arguments: list[str], sentence: str
) -> None:
    given = [finished if argument == "RUN" else argument for argument in arguments]
    code, _, err = wombet("render", *given, "--store", store.root)
    assert code == 2
    assert sentence in err


def test_an_mp4_needs_an_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(InputError, match="needs a video encoder that is not installed"):
        check_video(Path("film.mp4"), 64)
