"""The figures that can be drawn from the authors' release, and their files; `published.drawings` draws them.

This module imports nothing that draws, since the workflow asks it for names at each start.
"""

from collections.abc import Iterator
from pathlib import Path

from offcourse.analysis.view import Results
from offcourse.graph import catalogue
from offcourse.graph.products import DRAWN_BY, FV, LENS
from offcourse.graph.release import CIE_TASKS, Release, apathy_models, models_of
from offcourse.graph.release_rules import FIGURES
from offcourse.graph.study_files import pages_in
from offcourse.layout import picture_files

# Pages of the sweep that the paper shows: Figures 4 and 17.
SWEEP_PAGES = (("mistral-7b-v0.3", "country-capital"), ("gpt-j-6b", "country-capital"))
# The models in the paper's figures of the logit lens, and in its heat maps of causal effects (Figures 9 and 10).
LENS_FIGURES = {
    "figure2": ("llama-7b", "pythia-6.9b", "llama-3-8b", "mistral-7b-v0.1"),
    "figure6": ("olmo-7b-0724-20b", "olmo-7b-0724-100b", "olmo-7b-0724-2700b", "olmo-7b-0724"),
    "figure7": ("llama-2-70b", "qwen2-7b", "gemma-2-9b"),
}
CIE_FIGURES = ("gpt-j-6b", "llama-3.1-8b")
NO_SCALE = "Here its means were read back from drawings; that of Llama-3 70B, in Figure 7, has no scale."
ONLY_SHADES = (
    "That holds of a study; the release has shades of a drawing only: the place of each head between the least and the "
    "largest effect of the task, without a zero; the task with numbers in its title has a scale."
)


def names(release: Release) -> list[str]:
    """The id of every figure of the release: its path below figures/ without a suffix."""
    asked, vectors = release.question_set("lens").name, models_of(release, "task_vectors")
    return [
        *(
            "figure_off_by_one",
            "figure1",
            "figure3",
            "figure5",
            "figure11",
            "figure13",
            "figure14",
            "figure15",
            "figure16",
        ),
        *(f"{name}/{asked}" for name in (*LENS_FIGURES, "figure8")),
        *(f"figure9/{model}" for model in CIE_FIGURES),
        *(f"figure17/{'_'.join(page)}" for page in SWEEP_PAGES),
        *(f"figure18/{model}" for model in vectors),
        *(figure["id"] for figure, _ in catalogue.OTHER_FIGURES if DRAWN_BY[figure["figure"]].released),
    ]


def names_of(release: Release, rule: str) -> list[str]:
    """The ids of the figures that a rule draws."""
    kinds = {figure for product in FIGURES[rule] for figure in product.figures}
    # Figures 6 and 7 are a study's Figure 2.
    kinds |= set(LENS_FIGURES) if "figure2" in kinds else set()
    return [name for name in names(release) if name.split("/")[0] in kinds]


def figure_files(release: Release, *rules: str) -> list[Path]:
    """The files of the figures that some rules draw (none named: all rules).

    `published_figures` also writes the list of figures that cannot be drawn.
    """
    folder, found = release.layout.results / "figures", []
    for rule in rules or FIGURES:
        found += [path for name in names_of(release, rule) for path in picture_files(folder / name)]
        found += [not_released(release)] if rule == "published_figures" else []
    return found


def not_released(release: Release) -> Path:
    """Path of the list of figures' parts that cannot be drawn from the release, with reasons."""
    return release.layout.results / "figures" / "not_released.json"


def pages_of(release: Release, results: Results) -> list[catalogue.Figure]:
    """Entries of the catalogue for the release's pictures, of the kinds that a study has too."""
    drawn = set(names(release))
    # Heat maps of causal effects are drawn for the paper's models only, though more were released.
    pages = [page for page in pages_in(results) if page["figure"] != "figure9"]
    last = max(at for at, page in enumerate(pages) if page["figure"] in ("figure5", "figure17"))
    pages[last + 1 : last + 1] = map(catalogue.effects_page, CIE_FIGURES)
    return [each for page in pages for each in _as_released(page) if each["id"] in drawn]


def covered(release: Release, results: Results, page: catalogue.Figure) -> Results:
    """The results that one picture shows: for the lens the paper's models, for causal effects the drawn tasks."""
    name, asked = page["id"].split("/")[0], list(results.scopes[LENS][1])
    if name in LENS_FIGURES:
        return results.only(LENS, LENS_FIGURES[name], asked)
    if name == "figure8":
        return results.only(LENS, apathy_models(release), asked)
    if name == "figure9":
        return results.only(FV, [page["model"]], CIE_TASKS)
    return results


def _as_released(page: catalogue.Figure) -> Iterator[catalogue.Figure]:
    """A study's picture as the release has it: the lens as three pictures, heat maps with shades only."""
    if page["figure"] == "figure2":
        for name in LENS_FIGURES:
            stem = page["id"].replace("figure2", name)
            said = f"{page['explanation']} {NO_SCALE}"
            yield catalogue.Figure({**page, "id": stem, "svg": f"figures/{stem}.svg", "explanation": said})
    elif page["figure"] == "figure9":
        yield catalogue.Figure({**page, "explanation": f"{page['explanation']} {ONLY_SHADES}"})
    else:
        yield page
