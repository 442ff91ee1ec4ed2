"""The page and the Markdown of a report, from the same parts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from analysis import render, summary
from analysis.aggregates import Backend
from analysis.bootstrap import MIN_SEEDS_FOR_INTERVAL
from analysis.cards import method_cards, provenance, suite_settings, versions
from analysis.charts import FIGURE_RESAMPLES, Figure
from analysis.drawing import inline_svg
from analysis.load import SuiteResults
from analysis.palette import method_styles
from analysis.sections import Section
from analysis.tables import Table
from analysis.views import Anchors, View, markdown

MOST_OPEN = 8
"""Task pairs of which each is shown opened; with more, all but the overview begin closed."""


@dataclass(frozen=True)
class How:
    """How the numbers were made: resamples, seed, and whose bootstrap."""

    resamples: int
    seed: int
    backend: Backend


def page_context(
    results: SuiteResults,
    tables: list[Table],
    results_sections: list[Section],
    further_sections: list[Section],
    sentences: list[str],
    anchors: Anchors,
    how: How,
) -> dict[str, Any]:
    """Return all that the page and the Markdown say."""
    manifest = results.manifest
    return {
        "title": manifest["title"],
        "name": manifest["name"],
        "description": manifest["description"],
        "summary": sentences,
        "sections": [_section(section) for section in results_sections],
        "further": [_section(section) for section in further_sections if section.views or section.paragraphs],
        "open": len(results.pairs) <= MOST_OPEN,
        "colours": {method: style.colour for method, style in method_styles(results.methods).items()},
        "reading": _how_to_read(how),
        "legend": _column_meanings(tables),
        "findings": [asdict(finding) for finding in results.findings],
        "methods": method_cards(results),
        "settings": suite_settings(results),
        "provenance": provenance(results, anchors),
        "versions": versions(results),
        "manifest_sha256": results.manifest_sha256,
    }


def html(context: Mapping[str, Any]) -> str:
    """Return the self-contained page; every name in it is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    folder = files("analysis").joinpath("templates")
    source, style, script = (
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("report.html.j2", "report.css", "report.js")
    )
    return environment.from_string(source).render(context, style=style, script=script)


def markdown_page(context: Mapping[str, Any]) -> str:
    """Return the report as Markdown, with links to the figures beside it."""
    text = render.markdown_text
    lines = [f"# {text(context['title'])}", "", text(context["description"]), "", *map(text, context["summary"]), ""]
    for section in [*context["sections"], *context["further"]]:
        lines += [f"## {text(section['title'])}", "", *[f"{text(line)}\n" for line in section["paragraphs"]]]
        for view in section["views"]:
            lines += [f"### {text(view.title)}", "", *([text(view.about), ""] if view.about else []), markdown(view)]
        for figure in [*section["figures"], *section["more"]]:
            lines += [f"![{text(figure['caption'])}](figures/{figure['file']})", ""]
    lines += ["## How to read this", "", *[f"{text(line)}\n" for line in context["reading"]]]
    lines += [f"- {text(heading)}: {text(meaning)}" for heading, meaning in context["legend"]]
    lines += ["", "## Findings", ""]
    lines += [f"- {text(item['where'])}: {text(item['message'])}" for item in context["findings"]] or ["None."]
    lines += ["", "## Methods", "", *[line for card in context["methods"] for line in _card_lines(card)]]
    lines += ["", "## Settings and provenance", ""]
    lines += [f"- {text(name)}: {text(value)}" for name, value in [*context["settings"], *context["versions"]]]
    lines += [f"- manifest sha256: {context['manifest_sha256']}", ""]
    for run in [run for cell in context["provenance"]["cells"] for run in cell["runs"]]:
        dataset = f", dataset {text(run['dataset'])}" if run["dataset"] else ""
        lines.append(f"- {text(run['folder'])}: {run['state']}{dataset}")
    return "\n".join(lines) + "\n"


def section_of_table(table: Table, views: tuple[View, ...], figures: tuple[Figure, ...], number: int) -> Section:
    """Return the section of a result table; the first one's sentences are the summary's and are not said again."""
    sentences = tuple(summary.headline(table)) if number else ()
    return Section(f"table-{number}", table.title, sentences, views, figures)


def _section(section: Section) -> dict[str, Any]:
    return {
        "id": section.id,
        "title": section.title,
        "paragraphs": section.paragraphs,
        "views": section.views,
        "figures": [_figure(figure) for figure in section.figures if figure.main],
        "more": [_figure(figure) for figure in section.figures if not figure.main],
    }


def _figure(figure: Figure) -> dict[str, str]:
    kind = "png" if "png" in figure.files else "svg"
    svg = inline_svg(figure.files["svg"], figure.name, figure.caption)
    return {"name": figure.name, "file": f"{figure.name}.{kind}", "caption": figure.caption, "svg": svg}


def _card_lines(card: Mapping[str, Any]) -> list[str]:
    text = render.markdown_text
    said = [card["about"]]
    said += [f"Tuned: {card['tuned']}."] if card["tuned"] else []
    said += [f"Deviation: {deviation}." for deviation in card["deviations"]]
    said += [f"Set: {', '.join(card['changed'])}."] if card["changed"] else []
    return [f"- {text(card['name'])}: {text(' '.join(said))}"]


def _column_meanings(tables: list[Table]) -> list[tuple[str, str]]:
    meanings = {column.heading: column.meaning for table in tables for column in render.columns(table)}
    return list(meanings.items())


def _how_to_read(how: How) -> list[str]:
    ours = "where runs share a generated dataset, datasets are drawn first and runs within them."
    theirs = "drawn by rliable in the tables, which takes runs that share a generated dataset as independent."
    return [
        "The primary metric is the score of the last evaluation of each run, fixed before the runs; no checkpoint is "
        "chosen by its score. A score is the mean return of an evaluation's episodes divided by the horizon, so 1 is "
        "the most there is. The table and the profile over several pairs show normalised scores where every pair has "
        "anchors that were measured beforehand: 0 is the random policy and 1 the reference. All else is not normalised "
        "by any other policy; the rows random and zero, where the suite has them, show what uniform actions and no "
        "action score.",
        "The tasks and their levels of shift are this project's own design. They are not the tasks of the paper that "
        "introduced WOMBET, so no number here can be compared with a number there.",
        "IQM, the interquartile mean, is the mean of the scores that are left when the lowest and the highest quarter "
        "are cut off (rounded down: of 5 seeds, one at each end). With fewer than 4 scores nothing would be cut; then "
        "the mean is shown and called that. Over several pairs each pair weighs the same, however many seeds it has.",
        f"Intervals are 95 % percentile intervals of a bootstrap over seeds within each pair ({how.resamples:,} "
        f"resamples, {FIGURE_RESAMPLES:,} for figures and for the further tables in CSV, seed {how.seed}); "
        f"{ours if how.backend == 'wombet' else theirs} "
        f"Below {MIN_SEEDS_FOR_INTERVAL} seeds only points are shown. An interval without "
        "width, as of a probability of 1, says that all runs in hand agree, not that the next one must.",
        "Such intervals are too narrow with few seeds. The column coverage says how often a nominal 95 % interval held "
        "the true value for as many independent seeds in a measurement on real final scores; with shared datasets it "
        "is lower than that. Intervals that do not overlap are evidence of a difference, while overlap is no evidence "
        "of equality; only the paired differences are corrected for the number of comparisons.",
        "Source steps are counted for every method that uses the shared dataset, in full for each run. CPU seconds are "
        "those of the runs on the machines that ran them; the making of the dataset is not among them.",
    ]
