"""Which runs of a suite are worth another attempt, and with how much memory; read from the store alone."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from suites.queue import QueuedJob, dataset_folder, queued_jobs, records
from suites.site import Site, load_site, site_from
from suites.spec import DatasetRecipe, RunSpec, recipe_from_json, run_spec_from_json
from suites.status import CellStatus, DatasetStatus, suite_status
from suites.store import Store, read_json
from suites.submission import Submitted, submit

LOST = ("lost", "interrupted")
MEMORY_FACTOR = 2.0


@dataclass
class Selection:
    """Runs and datasets to try again, GB by folder for the next job, and how many failed ones are left alone.

    `known` are all of the suite's runs that were begun.
    """

    runs: list[RunSpec] = field(default_factory=list)
    recipes: list[DatasetRecipe] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    left_alone: int = 0
    known: list[RunSpec] = field(default_factory=list)


def select(store: Store, suite: str, *, failed: bool = False, automatic: bool = False) -> Selection:
    """Return what is lost: its process, job or machine ended it. With `failed`, what raised an exception too.

    What ran out of memory is given twice as much. With `automatic`, what a person cancelled and what was submitted as
    often as its site profile allows are left alone. Raises InputError if the suite was never run in this store.
    """
    status = suite_status(store, suite)
    folders = [*(dataset_folder(dataset.id) for dataset in status.datasets), *(cell.folder for cell in status.cells)]
    queue = queued_jobs(store, folders)
    limit = recorded_site(store, suite).attempts if automatic else None
    selection = Selection()
    datasets = {}
    for dataset in status.datasets:
        folder = dataset_folder(dataset.id)
        datasets[dataset.id] = _wanted(store, folder, dataset, queue, failed, limit, selection)
        recipe = read_json(store.root / folder / "recipe.json")
        if datasets[dataset.id] and recipe is not None:
            selection.recipes.append(recipe_from_json(recipe))
    for cell in status.cells:
        spec = read_json(store.run_folder(cell.folder) / "spec.json")
        if spec is None:
            continue
        run = replace(run_spec_from_json(spec), row=cell.method)
        selection.known.append(run)
        follows = cell.state == "blocked" and any(datasets.get(recipe.id, False) for recipe in run.recipes)
        if follows or _wanted(store, cell.folder, cell, queue, failed, limit, selection):
            selection.runs.append(run)
    return selection


def retry_on_slurm(
    store: Store, suite: str, selection: Selection, site: Path | None, max_failures: int | None
) -> Submitted:
    """Queue a selection, each run in a job of its own so that one that crashes again costs no other."""
    profile = load_site(site) if site is not None else recorded_site(store, suite)
    return submit(
        selection.runs,
        store,
        suite,
        profile,
        recipes=selection.recipes,
        memory=selection.memory,
        alone=True,
        max_failures=max_failures,
    )


def recorded_site(store: Store, suite: str) -> Site:
    """Return the profile of the suite's last submission, or what `load_site` finds if it was never submitted."""
    submissions = records(store, suite)
    if not submissions:
        return load_site(None)
    return site_from(submissions[-1]["site"], f"submission {submissions[-1]['number']} of suite {suite}")


def _wanted(
    store: Store,
    folder: str,
    item: CellStatus | DatasetStatus,
    queue: dict[str, QueuedJob],
    failed: bool,
    limit: int | None,
    selection: Selection,
) -> bool:
    status = read_json(store.root / folder / "status.json") or {}
    died = item.state == "failed" and status.get("lost") is True
    if item.state == "failed" and not (died or failed):
        selection.left_alone += 1
    if not (item.state in LOST or died or (failed and item.state == "failed")):
        return False
    job = queue.get(folder)
    if job is None:
        return True
    if limit is not None and (job.cancelled or job.attempts >= limit):
        return False
    killed = died and "SIGKILL" in (item.message or "")
    selection.memory[folder] = job.memory_gb * (MEMORY_FACTOR if job.out_of_memory or killed else 1.0)
    return True
