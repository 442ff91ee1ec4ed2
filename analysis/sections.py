"""The sections of a report after those of the task pairs: comparisons, transfer, diagnostics, data, costs and noise."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis.artefacts import Artefacts
from analysis.charts import Figure
from analysis.load import SuiteResults
from analysis.published import NOTHING_TO_COMPARE, UNKNOWN, native_pairs
from analysis.render import count
from analysis.traces import Traces, round_table
from analysis.views import Anchors, View, frame_view

Frames = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Section:
    """A part of the report: its id on the page, a title, paragraphs, tables and figures."""

    id: str
    title: str
    paragraphs: tuple[str, ...]
    views: tuple[View, ...]
    figures: tuple[Figure, ...]


def comparison_section(numbers: Frames, figures: list[Figure], anchors: Anchors) -> Section:
    """Methods against each other: improvements, paired differences over all pairs and by family, and the tally."""
    views = []
    if "tally" in numbers:
        about = (
            "How often a method wins, ties and loses over task families, by the tests below; a family counts once "
            "against every other method. “Equivalent” is a tie with evidence that the difference is small."
        )
        views.append(frame_view(numbers["tally"], "tally", "Wins, ties and losses", about, anchors))
    if "comparisons" in numbers:
        frame = numbers["comparisons"].sort_values("scope", key=lambda scopes: scopes.map(_SCOPES), kind="stable")
        about = (
            "Score of a minus score of b, paired by seed. p is that of a sign-flip test on independent units, adjusted "
            "after Holm over all comparisons of its scope; where so few units cannot reach 0.05 the verdict is “too "
            "few seeds”. “Detectable” is the smallest true difference that such a test would find four times in five."
        )
        columns = ("group", "a", "b", "difference", "low", "high", "seeds", "units", "p_holm", "detectable", "verdict")
        views.append(frame_view(frame, "comparisons", "Paired differences", about, anchors, columns))
    return Section("comparisons", "Methods against each other", (), tuple(views), tuple(figures))


_SCOPES = {"all": 0, "family": 1, "pair": 2}


def transfer_section(numbers: Frames, anchors: Anchors) -> Section:
    """What the experience from the source task was worth, in score and in budget."""
    views = []
    if "budget" in numbers:
        about = (
            "How many target steps the method took to reach the final mean score of a baseline, and as a share of that "
            "baseline's budget. Source steps are not in it. “Not reached” is more than any budget."
        )
        views.append(frame_view(numbers["budget"], "budget", "Budget", about, anchors))
    if "transfer" in numbers:
        about = (
            "Jump-start is the score before any target step above the reference's; the dip is the deepest fall below "
            "that start, also as a share of the way from the pair's low anchor to its high one (noise alone gives a "
            "small one); the area ratio compares the mean score above the random policy over the common steps; "
            "negative transfer is the share of seeds that end below the reference. Steps are those of evaluations."
        )
        columns = ("pair", "method", "figure", "value", "low", "high", "unit", "seeds", "reached", "reference", "note")
        views.append(frame_view(numbers["transfer"], "transfer", "Transfer figures", about, anchors, columns))
    if "levels" in numbers:
        views.append(_levels_view(numbers["levels"], anchors))
    return Section("transfer", "What transfer was worth", (), tuple(views), ())


def _levels_view(frame: pd.DataFrame, anchors: Anchors) -> View:
    about = (
        "How much of its score at the aligned level behaviour cloning retains, both above the random policy of their "
        "own task. The rule: about 0.85 at close, about 0.60 at moderate, at most 0.30 at far. Where a level may lie "
        "is bounded by the points midway between these figures: close holds from 0.725 on, moderate from 0.45 to "
        "0.725; far holds up to 0.30 itself. The verdict is that of the point alone; where the interval crosses a "
        "bound it could be another. It is reported, and no level is changed after it."
    )
    columns = (
        *("family", "level", "retained", "low", "high", "rule", "bounds", "verdict", "seeds", "datasets"),
        *("score", "random_score", "aligned_score", "aligned_random_score", "note"),
    )
    return frame_view(frame, "levels", "Are the levels what they are called?", about, anchors, columns)


def diagnostics_section(traces: Traces, values: pd.DataFrame, figures: list[Figure], anchors: Anchors) -> Section:
    """What the methods that mix offline and online rows recorded of themselves."""
    if traces.rows.empty:
        return Section("diagnostics", "Diagnostics of training", (), (), ())
    paragraphs = [
        "Recorded by the runs themselves while they trained online; nothing here enters a score. α_t is the share of "
        "offline rows in a minibatch and z_t the TD-error signal that moves it under the adaptive rules.",
        *[f"Not all could be read: {note}." for note in traces.notes],
    ]
    views = []
    rounds = round_table(traces)
    if not rounds.empty:
        about = (
            "The data of each iteration, by its last recorded row: share of the newest candidates that passed the "
            "filter, share of the older trajectories that passed again, mean uncertainty of the offline rows and the "
            "model's one-step error on held-out rows. Iteration 1 is the shared dataset. Means over seeds."
        )
        views.append(frame_view(rounds, "iterations", "Data over iterations", about, anchors))
    if not values.empty:
        about = (
            "Over the last tenth of training: mean Q of minibatches; the critics' mean estimate at the first steps of "
            "the evaluation episodes; and the discounted rewards that these episodes then brought, with the critics' "
            "estimate in place of what a time limit cut off. Target networks let values rise with a time constant of "
            "1 / (tau (1 − discount)) updates, 20,000 at the usual settings, so that short runs estimate too little. "
            "Where critics learn an entropy bonus, their estimate holds it."
        )
        views.append(frame_view(values, "values", "Q against the return", about, anchors))
    return Section("diagnostics", "Diagnostics of training", tuple(paragraphs), tuple(views), tuple(figures))


def data_section(artefacts: Artefacts, anchors: Anchors) -> Section:
    """The generated datasets: cost and content, and the theory with their figures."""
    if artefacts.datasets.empty and not artefacts.notes:
        return Section("data", "Generated data", (), (), ())
    paragraphs = [f"Not all could be read: {note}." for note in artefacts.notes]
    if artefacts.bounds.empty:
        paragraphs.append(
            "No dataset has a diagnosis yet, so nothing is said of its model's lower bound; `wombet data diagnose "
            "SUITE` measures it in the real simulator."
        )
    paragraphs += [f"{name}: {sentence}" for name, own in artefacts.sentences.items() for sentence in own]
    views = [
        frame_view(frame, name, title, about, anchors)
        for frame, name, title, about in (
            (
                artefacts.datasets,
                "datasets",
                "Datasets",
                "Every method of a pair was fed the same bytes. Source steps are all that its making took; acceptance "
                "is the share of candidate trajectories that passed the filter; uncertainty is the mean over the "
                "accepted ones, beside its threshold; the gate's gap is imagined minus real reward per step.",
            ),
            (
                artefacts.bounds,
                "lower-bounds",
                "Is the penalised return a lower bound?",
                "Share of planned trajectories whose real return is at least the model's penalised one, in closed "
                "loop, as the penalty varies. It goes to one as the penalty grows, whatever the model, so it is to be "
                "read with the mean slack (real minus promised) and with what the plan then earned (true return).",
            ),
            (
                artefacts.calibration,
                "calibration",
                "Model error and the final bound (13)",
                "“W1 below u” is the share of rows on which the theory's assumption holds, and “factor needed” what u "
                "would have to be multiplied with for 95 % of them. The bound (13) is evaluated with real figures; "
                "vacuous means that it promises no more than the worst return that is possible.",
            ),
        )
        if not frame.empty
    ]
    return Section("data", "Generated data", tuple(paragraphs), tuple(views), ())


def cost_section(results: SuiteResults, artefacts: Artefacts, anchors: Anchors) -> Section:
    """What all of it cost, by method, the making of the datasets included."""
    usable = results.runs[results.runs["usable"].astype(bool)]
    if usable.empty:
        return Section("costs", "Costs", (), (), ())
    by_method = usable.groupby("method", sort=False)
    frame = pd.DataFrame(
        {
            "cpu_hours": by_method["cpu_s"].sum(min_count=1) / 3600,
            "cpu_s_per_run": by_method["cpu_s"].mean(),
            "wall_s_per_run": by_method["wall_s"].mean(),
            "source_steps_per_run": by_method["source_steps"].mean(),
            "target_steps_per_run": by_method["target_steps"].mean(),
            "updates_per_run": by_method["updates"].mean(),
        }
    )
    frame = frame.reindex([method for method in results.methods if method in frame.index]).reset_index()
    hours = f"{float(usable['cpu_s'].sum()) / 3600:,.2f}"
    spoken = [f"The {len(usable):,} finished runs took {hours} CPU hours between them, evaluations not counted."]
    if not artefacts.datasets.empty:
        known = artefacts.datasets["cpu_s"].dropna()
        steps = pd.to_numeric(artefacts.datasets["source_steps"]).sum()
        spoken.append(
            f"The making of {len(artefacts.datasets)} dataset{'s' if len(artefacts.datasets) > 1 else ''} took "
            f"{count(steps)} source steps and, where it is known, {float(known.sum()) / 3600:,.2f} CPU hours; every "
            "method that uses them is charged the source steps in full."
        )
    about = "Means are per finished run; source steps include those of the shared dataset."
    view = frame_view(frame, "costs", "By method", about, anchors)
    return Section("costs", "Costs", tuple(spoken), (view,), ())


def robustness_section(numbers: Frames, anchors: Anchors) -> Section:
    """Noise, failures, and whether the ranking depends on how it is made."""
    # The anchors' low and high are no interval.
    frames = {
        name: frame.rename(columns={"low": "low_return", "high": "high_return"}) if name == "anchors" else frame
        for name, frame in numbers.items()
    }
    views = [
        frame_view(frames[name], name, title, about, anchors, columns)
        for name, title, about, columns in _ROBUSTNESS
        if name in frames
    ]
    if "aggregates" in numbers:
        frame = numbers["aggregates"]
        frame = frame[(frame["scope"] != "pair") & frame["scale"].isin(["score", "normalised"])]
        if not frame.empty:
            about = "IQM, mean, median and optimality gap over all pairs, by family and by level of shift."
            columns = ("group", "scale", "method", "statistic", "value", "low", "high", "seeds", "pairs")
            views.append(frame_view(frame, "aggregates", "Aggregates by group", about, anchors, columns))
    return Section("robustness", "Noise and sensitivity", (), tuple(views), ())


_ROBUSTNESS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    (
        "noise",
        "Seeds and episodes",
        "How final scores vary. “Episode share” is the part of the variance of a run's score that its few evaluation "
        "episodes make; from “episodes enough” on it is under a tenth of that between seeds. The tolerance interval "
        "holds nine runs in ten with 95 % confidence.",
        ("pair", "method", "seeds", "seed_std", "episode_std", "episode_share", "episodes_enough", "tolerance_low",
         "tolerance_high", "worst_decile", "note"),
    ),
    (
        "failures",
        "Failed runs",
        "Scores with the failed runs left out, as elsewhere, and with them scored as the random policy.",
        (),
    ),
    (
        "stability",
        "Who ranks first",
        "Share of resamples, of seeds and of task pairs, in which a method has the highest IQM.",
        (),
    ),
    ("ranking", "Ranks under other choices", "Value and rank under each variant of the analysis; 1 is best.", ()),
    (
        "anchors",
        "Anchors",
        "The two returns between which scores are normalised, and where each is from: measured beforehand for the very "
        "same task, or rows of this suite. The best of several averages is a little higher than what it stands for.",
        (),
    ),
)  # fmt: skip


def published_section(frame: pd.DataFrame, results: SuiteResults, anchors: Anchors) -> Section:
    """Runs of native tasks beside published learning curves."""
    if not native_pairs(results.manifest):
        return Section("published", "Against published curves", (), (), ())
    if frame.empty:
        said = NOTHING_TO_COMPARE if results.manifest.get("method_defaults") else UNKNOWN
        return Section("published", "Against published curves", (said,), (), ())
    about = "Mean return beside the band of a published curve; “not comparable” says why. Outside is a finding."
    view = frame_view(frame, "published", "Bands", about, anchors)
    return Section("published", "Against published curves", (), (view,), ())
