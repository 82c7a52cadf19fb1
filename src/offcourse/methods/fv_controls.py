"""Step `fv_controls`: the sweep of Eq. 5 with control vectors, for comparison with the function vectors of `fv_sweep`.

Vectors that should do nothing:
random_direction  a random direction, as long as the function vector of that number of heads
random_heads      the vector of as many heads, drawn at random (Eq. 3)
shuffled_labels   the vector of the chosen heads, from their outputs on prompts whose labels are shuffled
other_task        the function vector of another task: the next one of the study

And the other value of the protocol switch `head_read_position`, without a second study:
read_position     the function vector with heads read one token earlier (in a study under `last`) or later (under
                  `as_coded`); not for a model whose tokenizer adds no BOS, where both positions are the same
"""

from collections.abc import Iterator

import pandas as pd
import torch
from tqdm import tqdm

from offcourse.data.architectures import architecture
from offcourse.data.draws import keyed_generator
from offcourse.data.rows import Task
from offcourse.methods import cie
from offcourse.methods.function_vectors import function_vector, rank_heads
from offcourse.methods.fv_sweep import sweep
from offcourse.models.weights import output_projections
from offcourse.schemas.function_vectors import CIE, FV_CONTROLS
from offcourse.schemas.io import read_parquet

SEED = 0


def compute(context, task: Task) -> pd.DataFrame:
    """One row per control, draw, n_heads, strength, layer and item, under `FV_CONTROLS`.

    The table is empty if `read_position` is the only control and the tokenizer adds no BOS.

    The two random controls have `control_draws` draws, the others one. A number of heads that the sweep skipped is
    skipped here too.
    """
    counts = sorted(int(name.removeprefix("n_heads=")) for name in context.tensors("function_vectors", task))
    strengths, dtype = context.parameters["strengths"], context.engine.model.module.dtype
    made = list(vectors(context, task, counts))
    if not made:
        types = {name: column.dtype.type for name, column in FV_CONTROLS.columns.items()}
        return pd.DataFrame(columns=list(types)).astype(types)
    keys = [(control, draw, k, strength) for control, draw, _ in made for k in counts for strength in strengths]
    # As in the sweep, a vector is cast to the model's dtype before it is multiplied by the strength.
    edits = torch.stack([strength * mine[k].to(dtype) for _, _, mine in made for k in counts for strength in strengths])
    prompts = context.prompts(task, "query")
    items = tqdm(prompts.itertuples(), desc=f"controls {task.name}", total=len(prompts), leave=False, disable=None)
    hits = torch.stack([sweep(context.engine, prompt.token_ids, prompt.target_id, edits) for prompt in items])
    sizes = [range(len(keys)), range(hits.shape[1]), prompts["index"].tolist()]
    axes = pd.MultiIndex.from_product(sizes, names=["edit", "layer", "item"]).to_frame(index=False)
    named = pd.DataFrame(keys, columns=["control", "draw", "n_heads", "strength"]).iloc[axes.pop("edit")]
    frame = pd.concat([named.reset_index(drop=True), axes], axis=1)
    return frame.assign(hit=hits.permute(2, 1, 0).reshape(-1).numpy())


def vectors(context, task: Task, counts: list[int]) -> Iterator[tuple[str, int, dict[int, torch.Tensor]]]:
    """(control, draw, {number of heads: vector [width] float32}) of every control of the study.

    Draws are keyed by task, control and draw. Within one draw, a smaller set of heads is the beginning of a larger one.
    """
    means = context.tensors("head_means", task)["mean"]
    own = context.tensors("function_vectors", task)
    for control in context.parameters["controls"]:
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
            elif control == "other_task":
                other = context.tensors("function_vectors", context.next_task(task))
                yield control, draw, {k: other[f"n_heads={k}"] for k in counts}
            elif context.tokenizer.adds_bos:
                other_means = means_at_other_position(context, task)
                ranking = rank_heads(cie.measure(context, task, other_means))
                yield control, draw, _of_heads(context, other_means, ranking[: max(counts)], counts)


def shuffled_means(context, task: Task) -> torch.Tensor:
    """Mean output of every head over the prompts with shuffled labels: [layers, heads, head_dim] float32.

    Heads are read as many tokens before the end as in the prompts with true labels (`head_read_position`).
    """
    true, shuffled = context.prompts(task, "head_mean"), context.prompts(task, "cie")
    [before_end] = {len(prompt.token_ids) - prompt.read_position for prompt in true.itertuples()}
    positions = [len(ids) - before_end for ids in shuffled["token_ids"]]
    return context.engine.capture_heads(list(shuffled["token_ids"]), positions).mean(0)


def means_at_other_position(context, task: Task) -> torch.Tensor:
    """Mean output of every head over the prompts with true labels, [layers, heads, head_dim] float32.

    Heads are read at the second-to-last token where the study reads the last, and the other way round.
    """
    prompts = context.prompts(task, "head_mean")
    positions = [2 * len(prompt.token_ids) - 3 - prompt.read_position for prompt in prompts.itertuples()]
    return context.engine.capture_heads(list(prompts["token_ids"]), positions).mean(0)


def _of_heads(context, means: torch.Tensor, heads: list[tuple[int, int]], counts: list[int]) -> dict[int, torch.Tensor]:
    row = architecture(context.registry.model(context.model).architecture)
    projections = output_projections(context.folder, row, {layer for layer, _ in heads})
    with_bias = context.parameters["fv_output_bias"] == "per_head"
    return {k: function_vector(means, heads[:k], projections, with_bias) for k in counts}
