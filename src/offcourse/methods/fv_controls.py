"""Step `fv_controls`: the sweep of Eq. 5 with control vectors, for comparison with the function vectors of `fv_sweep`.

Vectors that should do nothing:
random_direction  a random direction, as long as the function vector of that number of heads
random_heads      the vector of as many heads, drawn at random (Eq. 3)
shuffled_labels   the vector of the chosen heads, from their outputs on prompts whose labels are shuffled
other_task        the function vector of another task: the next one of the study

What reading heads one token early does, without a second study. The other position is the last token where the study
reads the one before it for this model (`head_read_position`), and the one before it elsewhere:
read_position        the function vector with heads read at the other position
read_position_heads  the heads that are chosen so, with the mean outputs that the study reads
read_position_means  the heads that the study chooses, with the mean outputs at the other position

And how much depends on the draw of the build prompts (`build_draws`):
rebuilt              the function vector from build prompts drawn again

Of the last four there is a draw for each draw of the build prompts; `rebuilt` has no draw 0, which is the study's own.
"""

from collections.abc import Iterator

import pandas as pd
import torch

from offcourse.data.draws import keyed_generator
from offcourse.data.effects import rank_heads
from offcourse.data.rows import Task
from offcourse.methods import cie
from offcourse.methods.function_vectors import function_vector
from offcourse.methods.fv_sweep import sweep
from offcourse.models.find import row_in
from offcourse.models.weights import output_projections
from offcourse.schemas.function_vectors import CIE, OTHER_HEADS, OTHER_MEANS, READ_POSITION, REBUILT
from offcourse.schemas.io import read_parquet

SEED = 0
# How the controls of the read position and of the build prompts are made: whether heads are chosen at the other
# position, and whether means are read there.
MADE_OF = {
    READ_POSITION: (True, True),
    OTHER_HEADS: (True, False),
    OTHER_MEANS: (False, True),
    REBUILT: (False, False),
}


def compute(context, task: Task) -> pd.DataFrame:
    """One row per control, draw, n_heads, strength, layer and item, under `FV_CONTROLS`.

    A number of heads that the sweep left out is left out here.
    """
    counts = sorted(int(name.removeprefix("n_heads=")) for name in context.tensors("function_vectors", task))
    strengths, dtype = context.parameters["strengths"], context.engine.model.module.dtype
    made = list(vectors(context, task, counts))
    keys = [(control, draw, k, strength) for control, draw, _ in made for k in counts for strength in strengths]
    # As in the sweep, a vector is cast to the model's dtype before it is multiplied by the strength.
    edits = torch.stack([strength * mine[k].to(dtype) for _, _, mine in made for k in counts for strength in strengths])
    prompts = context.prompts(task, "query")
    hits = sweep(context.engine, prompts, edits, f"controls {task.name}")
    sizes = [range(len(keys)), range(hits.shape[1]), prompts["index"].tolist()]
    axes = pd.MultiIndex.from_product(sizes, names=["edit", "layer", "item"]).to_frame(index=False)
    named = pd.DataFrame(keys, columns=["control", "draw", "n_heads", "strength"]).iloc[axes.pop("edit")]
    frame = pd.concat([named.reset_index(drop=True), axes], axis=1)
    return frame.assign(hit=hits.permute(2, 1, 0).reshape(-1).numpy())


def vectors(context, task: Task, counts: list[int]) -> Iterator[tuple[str, int, dict[int, torch.Tensor]]]:
    """(control, draw, {number of heads: vector [width] float32}) of every control of the study.

    Random draws are keyed by task, control and draw; of one draw, fewer heads are the first of more.
    """
    means = context.tensors("head_means", task)["mean"]
    own = context.tensors("function_vectors", task)
    for control in context.parameters["controls"]:
        if control in MADE_OF:
            for draw in range(int(control == REBUILT), context.parameters["build_draws"]):
                yield control, draw, _built(context, task, draw, *MADE_OF[control], counts)
            continue
        random = control.startswith("random")
        for draw in range(context.parameters["control_draws"] if random else 1):
            generator = keyed_generator(SEED, task.name, control, draw)
            if control == "random_direction":
                width = own[f"n_heads={counts[0]}"].shape[0]
                direction = torch.from_numpy(generator.standard_normal(width)).float()
                direction /= direction.norm()
                yield control, draw, {k: direction * own[f"n_heads={k}"].norm() for k in counts}
            elif control == "random_heads":
                layers, heads = means.shape[:2]
                drawn = [divmod(int(place), heads) for place in generator.permutation(layers * heads)[: max(counts)]]
                yield control, draw, _of_heads(context, means, drawn, counts)
            elif control == "shuffled_labels":
                ranking = rank_heads(read_parquet(context.input("cie", task), CIE))
                yield control, draw, _of_heads(context, shuffled_means(context, task), ranking[: max(counts)], counts)
            else:
                other = context.tensors("function_vectors", context.next_task(task))
                yield control, draw, {k: other[f"n_heads={k}"] for k in counts}


def _built(context, task: Task, draw: int, other_heads: bool, other_means: bool, counts: list[int]):
    """The function vector of each number of heads from one draw of the build prompts.

    other_heads, other_means: whether heads are chosen, and means read, at the other position.
    """
    ranking = rank_heads(_effects(context, task, draw, other_heads))
    return _of_heads(context, _means(context, task, draw, other_means), ranking[: max(counts)], counts)


def _means(context, task: Task, draw: int, other: bool) -> torch.Tensor:
    """Mean outputs of the heads for one draw of the build prompts, at the study's position or at the other one."""
    if not draw and not other:
        return context.tensors("head_means", task)["mean"]
    return context.once(("means", task.name, draw, other), lambda: means_at(context, task, draw, other))


def _effects(context, task: Task, draw: int, other: bool) -> pd.DataFrame:
    """Causal indirect effects for one draw of the build prompts; one measurement serves every control."""
    if not draw and not other:
        return read_parquet(context.input("cie", task), CIE)

    def measure() -> pd.DataFrame:
        return cie.measure(context, _means(context, task, draw, other), build_prompts(context, task, "cie", draw), task)

    return context.once(("effects", task.name, draw, other), measure)


def build_prompts(context, task: Task, kind: str, draw: int) -> pd.DataFrame:
    """The build prompts of one kind (`head_mean` or `cie`) and one draw, in order."""
    if not draw:
        return context.prompts(task, kind)
    trials = len(context.prompts(task, kind))
    again = context.prompts(task, f"{kind}_again")
    return again[again["index"] // trials == draw - 1].reset_index(drop=True)


def shuffled_means(context, task: Task) -> torch.Tensor:
    """Mean output of every head over the prompts with shuffled labels: [layers, heads, head_dim] float32.

    Heads are read as many tokens before the end as in the prompts with true labels (`head_read_position`).
    """
    true, shuffled = context.prompts(task, "head_mean"), context.prompts(task, "cie")
    [before_end] = {len(prompt.token_ids) - prompt.read_position for prompt in true.itertuples()}
    positions = [len(ids) - before_end for ids in shuffled["token_ids"]]
    return context.engine.capture_heads(list(shuffled["token_ids"]), positions).mean(0)


def means_at(context, task: Task, draw: int, other: bool) -> torch.Tensor:
    """Mean output of every head over the prompts with true labels of one draw, [layers, heads, head_dim] float32.

    It is read where the study reads it; if `other`, at the second-to-last token where the study reads the last, and the
    other way round.
    """
    prompts = build_prompts(context, task, "head_mean", draw)
    positions = [
        2 * len(prompt.token_ids) - 3 - prompt.read_position if other else prompt.read_position
        for prompt in prompts.itertuples()
    ]
    return context.engine.capture_heads(list(prompts["token_ids"]), positions).mean(0)


def _of_heads(context, means: torch.Tensor, heads: list[tuple[int, int]], counts: list[int]) -> dict[int, torch.Tensor]:
    row = row_in(context.folder, context.registry.model(context.model).architecture)
    projections = output_projections(context.folder, row, {layer for layer, _ in heads})
    with_bias = context.parameters["fv_output_bias"] == "per_head"
    return {k: function_vector(means, heads[:k], projections, with_bias) for k in counts}
