"""Paths of the released files in the authors' repository, and the setting that the path of a scores file names."""

import re
from dataclasses import dataclass

# What to do about a released file that cannot be read though `read_released` found it to be the pinned one.
OTHER_PACKAGES = (
    "The file has the sha256 of the authors' file, so that another version of a package is likely. Install the lock "
    "again: `python -m pip install -r requirements.lock`."
)

# Function vectors: pages of the sweep, and the page of mean in-context accuracies (Figure 11).
PAGES = "figures/activation_patching/param_search_appendix"
MEANS = "figures/activation_patching/5_vs_10_shot.pdf"
LENS_PAGES = "figures/logit_lens"
APATHY_PAGE = f"{LENS_PAGES}/apathy.pdf"
CIE_PAGES = "figures/locality"
VECTOR_TABLES = "icl_task_vectors/for_fv"
VECTOR_PICKLES = "icl_task_vectors/outputs/results/main/2025_01_16"
_LAYERS, _MODEL = r"(?P<layers>[\d,]+)", r"(?P<model>[^/]+/[^/]+)"
_PATHS = [
    re.compile(rf"DoLa/results/(?P<set>tfqa|factor)_bucket_search/(?:tfqa/)?{_MODEL}/{_LAYERS}/results\.json"),
    re.compile(rf"DoLa/results/(?P<set>tfqa|factor)_alpha_search/(?:tfqa/)?{_MODEL}/(?P<alpha>[\d.]+)/results\.json"),
    re.compile(rf"DoLa/results/(?P<set>tfqa)_(?P<variant>no_softmax)/{_MODEL}/{_LAYERS}/results\.json"),
    re.compile(rf"DoLa/results/tqfa_(?P<variant>len_bias)/{_MODEL}/results\.json"),
    re.compile(
        r"DoLa/results2/(?:(?P<variant>no_softmax|len_bias)/)?(?P<set>tfqa|factor)/(?P<model>[^/]+)/"
        rf"ln_?type-none-alpha-(?:(?P<alpha>[\d.]+)-{_LAYERS}|none-baseline)\.json"
    ),
]


def page_path(release_name: str, task: str) -> str:
    """Path of the page of a function-vector sweep."""
    return f"{PAGES}/{release_name}/{release_name}_{task}_full.pdf"


def lens_path(release_name: str) -> str:
    """Path of a model's page of the logit lens."""
    return f"{LENS_PAGES}/{release_name}_tfqa.pdf"


def cie_path(release_name: str) -> str:
    """Path of a model's page of causal indirect effects."""
    return f"{CIE_PAGES}/{release_name}.pdf"


def vector_paths(release_name: str) -> dict[str, str]:
    """Paths of a model's task-vector files: `layers` (accuracy by layer), `baselines` and `pickle`."""
    stem = release_name.replace("-", "_")
    return {
        "layers": f"{VECTOR_TABLES}/{stem}.csv",
        "baselines": f"{VECTOR_TABLES}/{stem}_baselines.csv",
        "pickle": f"{VECTOR_PICKLES}/{stem}.pkl",
    }


@dataclass(frozen=True)
class ReleasedRun:
    """A file of DoLa's scores. model: the authors' name of the model. questions: tfqa or factor.

    layers: candidate premature layers and the mature layer; () if the path does not name them or there are none.
    alpha: None if the path does not name it.
    """

    path: str
    model: str
    questions: str
    variant: str
    layers: tuple[int, ...]
    alpha: float | None

    @property
    def layers_path(self) -> str:
        """Path of the file that counts the chosen layers; FACTOR and runs without premature layers have none."""
        folder, name = self.path.rsplit("/", 1)
        return f"{folder}/layers.json" if name == "results.json" else self.path.removesuffix(".json") + "layers.json"


def run_of(path: str) -> ReleasedRun | None:
    """The model, set and setting that the path of a file of scores names; None for the path of any other file."""
    found = next(filter(None, (pattern.fullmatch(path) for pattern in _PATHS)), None)
    if not found:
        return None
    said = found.groupdict()
    layers = tuple(int(layer) for layer in (said.get("layers") or "").split(",") if layer)
    alpha = float(said["alpha"]) if said.get("alpha") else None
    variant = {None: "softmax", "no_softmax": "no_softmax", "len_bias": "length_bias"}[said.get("variant")]
    if variant == "softmax" and len(layers) < 2 and alpha is None:
        variant = "base"
    return ReleasedRun(path, said["model"], said.get("set") or "tfqa", variant, layers, alpha)
