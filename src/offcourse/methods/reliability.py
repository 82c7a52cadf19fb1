"""Steps `{method}_draws` and `{method}_controls`: how far a steering method's result can be relied on.

Draws are vectors from further samples of prompts, in the setting that is best in the method's own sweep. Controls are
vectors that should do nothing, swept over the method's whole grid:
random_direction  random directions, each as long as the vector in its place; `random_directions` says how many times
wrong_task        the vectors of another task, the next one of the study
shuffled_labels   vectors from the method's own pairs, of which half have their sides swapped
sign_flipped      the vectors with the other sign
"""

import copy

import pandas as pd
import torch

from offcourse.data.draws import keyed_generator
from offcourse.data.rows import Task
from offcourse.engine.edit_checks import require_agreement
from offcourse.engine.together import hits_together
from offcourse.methods.side_effects import best_setting, chosen_edit
from offcourse.methods.steering import build, configured, swept
from offcourse.schemas.function_vectors import STEERING_DRAWS
from offcourse.schemas.io import as_table
from offcourse.steering.contract import RANDOM

SEED = 0


def draws(context, task: Task) -> pd.DataFrame:
    """One row per draw and item, under `STEERING_DRAWS`. Draw 0 has the vectors of the study."""
    [name] = context.step.methods
    setting = best_setting(context, task)
    built = [context.tensors(name, task)["vectors"]]
    built += [rebuilt(context, task, draw) for draw in range(1, context.parameters["draws"])]
    edits = [chosen_edit(context, task, *setting, vectors) for vectors in built]
    # Of vectors, not of edits: an edit leaves out layers to which zero is added.
    sets = configured(context).layer_sets(context.engine.model.layers)
    layers = next(some for some in sets if min(some) == setting[1])
    alike = cosines(torch.stack([vectors[list(layers)].flatten() for vectors in built]))
    prompts = context.prompts(task, "query")
    ids = list(prompts["token_ids"])
    what = f"{context.model}, draws of {name} on {task.name}"
    require_agreement(context.engine, ids, edits, what, together=True)
    hits = hits_together(context.engine, ids, list(prompts["target_id"]), edits).tolist()
    rows = [
        (draw, *setting, item, hit, alike[draw])
        for item, its in zip(prompts["index"], hits, strict=True)
        for draw, hit in enumerate(its)
    ]
    return as_table(sorted(rows), STEERING_DRAWS)


def controls(context, task: Task) -> pd.DataFrame:
    """One row per control, strength, layer set and item, under `STEERING_CONTROLS`."""
    found = []
    for control in context.parameters["controls"]:
        for number in range(context.parameters["random_directions"] if control == RANDOM else 1):
            table = swept(context, task, control_vectors(context, task, control, number))
            table.insert(0, "control", f"{control} {number + 1}" if number else control)
            found.append(table)
    return pd.concat(found, ignore_index=True)


def control_vectors(context, task: Task, control: str, number: int = 0) -> torch.Tensor:
    """The vectors of one control, float32, of the shape of the method's own (of `wrong_task`, of the other task's).

    number: of a random direction.
    """
    [name] = context.step.methods
    if control == "wrong_task":
        return context.tensors(name, context.next_task(task))["vectors"]
    if control == "shuffled_labels":
        return rebuilt(context, task, shuffled=True)
    own = context.tensors(name, task)["vectors"]
    if control == "sign_flipped":
        return -own
    generator = keyed_generator(SEED, task.name, f"random direction of {name}", number)
    random = torch.from_numpy(generator.standard_normal(own.shape)).to(own)
    return random / random.norm(dim=-1, keepdim=True) * own.norm(dim=-1, keepdim=True)


def rebuilt(context, task: Task, draw: int = 0, shuffled: bool = False) -> torch.Tensor:
    """The method's vectors from another sample of prompts, or from pairs with shuffled sides; float32, on the CPU."""
    # The copy shares the loaded model.
    _ = context.engine, context.tokenizer
    other = copy.copy(context)
    other.draw, other.shuffled = draw, shuffled
    return build(other, task)


def cosines(vectors: torch.Tensor) -> list[float]:
    """The mean cosine of each vector with all others. vectors: [two or more, numbers]."""
    unit = vectors.double() / vectors.double().norm(dim=1, keepdim=True).clamp_min(1e-300)
    return ((unit @ unit.T).fill_diagonal_(0).sum(1) / (len(unit) - 1)).tolist()
