"""`wombet render`: a video of a trained policy."""

from pathlib import Path
from typing import Annotated

import typer

from suites.commands.options import DEFAULT_STORE, JsonOption, StoreOption, print_json


def render_command(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A finished run: its folder, or in the store its path or id.")
    ],
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None, typer.Option("--out", help="A .gif or .mp4 file.", show_default="STORE/videos/PAIR-METHOD-RUN.gif")
    ] = None,
    episode: Annotated[int, typer.Option("--episode", min=0, help="Which episode of the last evaluation.")] = 0,
    size: Annotated[int, typer.Option("--size", help="Width and height in pixels.")] = 320,
    json: JsonOption = False,
) -> None:
    """Film a run's final policy in its target task, from the initial state of an episode of its last evaluation.

    Prints the path of the video, and the episode's return beside the one that was recorded. Frames are drawn off screen
    by MuJoCo, which needs EGL or OSMesa where there is no display.
    """
    from suites.policy import load_policy
    from suites.store import Store
    from suites.video import check_video, encoded, film, find_run
    from wombet.files import write_atomically

    folder, place = find_run(run, Store(store))
    pair, method = folder.parts[-3:-1]
    path = out or place.root / "videos" / f"{pair}-{method}-{folder.name}.gif"
    check_video(path, size)
    spec, adapter = load_policy(folder, place)
    made = film(spec, adapter, folder, episode, size)
    write_atomically(path, encoded(made, path.suffix))
    told = {"video": str(path), "episode": episode, "steps": made.steps, "return": made.total}
    if json:
        print_json({**told, "recorded_return": made.recorded})
        return
    recorded = "" if made.recorded is None else f", recorded was {made.recorded:.2f}"
    print(f"episode {episode}: return {made.total:.2f} over {made.steps} steps{recorded}")
    print(path)
