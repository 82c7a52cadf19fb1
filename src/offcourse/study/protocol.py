"""The protocol: one switch for each detail in which the authors' code differs from our recommendation.

`as_published` is what the authors' code ran, and what the released numbers follow; `corrected` is what we recommend.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from offcourse.errors import OffcourseError, did_you_mean

BASES = ("as_published", "corrected")


class Protocol(BaseModel):
    """One attribute per switch; the first value listed is the published one, the second the corrected one.

    A third value is a comparison: neither published nor recommended.

    Defaults are the published values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    head_read_position: Literal["as_coded", "last", "one_early"] = Field(
        "as_coded",
        description="Where the mean head activation is read. as_coded: the second-to-last prompt token (the 'A' of "
        "'A:') where the tokenizer adds a BOS token, the last elsewhere. last: always the last prompt token. "
        "one_early: always the second-to-last, whatever the tokenizer adds.",
    )
    splits: Literal["overlapping", "disjoint"] = Field(
        "overlapping",
        description="overlapping: vectors are built on the split of seed 42 and evaluated on that of seed 0, so "
        "evaluated words occur in build prompts. disjoint: one split; no evaluated input was ever in a build prompt.",
    )
    sampling: Literal["global", "keyed"] = Field(
        "global",
        description="global: one numpy legacy generator, drawn from in the order of the code. keyed: a generator per "
        "(seed, task, role, item), so that adding a task, a model or an item changes no other prompt.",
    )
    cie_output_bias: Literal["dropped", "kept"] = Field(
        "dropped",
        description="Whether the patched run of the causal indirect effect keeps the bias of the attention output "
        "projection of the patched layer (only Pythia has one).",
    )
    fv_output_bias: Literal["per_head", "excluded"] = Field(
        "per_head",
        description="The bias of the attention output projection in the function vector. per_head: added once for each "
        "chosen head. excluded: no part of the vector.",
    )
    default_heads: Literal["maximum", "single"] = Field(
        "maximum",
        description="The default setting of a function vector. maximum: the best over a short list of head counts. "
        "single: one head count (16, and 64 for models above 27B).",
    )
    tv_denominator: Literal["previous_model", "own"] = Field(
        "previous_model",
        description="The 5-shot accuracy that Table 3 divides a task vector's accuracy by. previous_model: left over "
        "from the model before in the loop. own: the pair's own.",
    )
    tv_average: Literal["mean_times_maximum", "mean"] = Field(
        "mean_times_maximum",
        description="Average recovery of task vectors. mean_times_maximum: mean over layers x maximum over layers / "
        "5-shot. mean: Eq. 8.",
    )
    tv_direction: Literal["spanish_swapped", "straight"] = Field(
        "spanish_swapped",
        description="Columns averaged for 'to English' and 'from English'. spanish_swapped: the two Spanish tasks "
        "change places. straight: each task in its own direction.",
    )
    tv_score: Literal["dev", "test"] = Field(
        "dev",
        description="Accuracy of a task vector. dev: at the best development layer, on the development prompts. test: "
        "at the best development layer, on the test prompts.",
    )
    dola_divergence: Literal["mean_kl", "jensen_shannon"] = Field(
        "mean_kl",
        description="How DoLa picks the premature layer. mean_kl: KL(M || p) averaged over the vocabulary. "
        "jensen_shannon: the Jensen-Shannon divergence.",
    )
    dola_premature_norm: Literal["none", "final"] = Field(
        "none",
        description="The norm before the unembedding of premature layers. final: the model's final norm.",
    )
    dola_mask: Literal["constant", "removed"] = Field(
        "constant",
        description="Tokens below DoLa's alpha threshold. constant: score -1000 after the softmax, not renormalised. "
        "removed: taken out before the softmax; a score is (masked tokens, log-probability of the rest).",
    )
    score_dtype: Literal["model", "float64"] = Field(
        "model",
        description="Precision in which the scores of a continuation are summed. model: the model's own dtype, and MC2 "
        "is 0 where its exponentials overflow, and halves scores that underflow. float64: neither happens.",
    )
    logits_dtype: Literal["model", "float32"] = Field(
        "model",
        description="Precision of the logits that probabilities and hits are read from, for a model in half precision. "
        "model: logits are rounded to the model's own dtype, which makes ties and hides small effects. float32: the "
        "same states times the same weights, not rounded. DoLa and the logit lens are as published either way.",
    )
    ties: Literal["as_coded", "shared"] = Field(
        "as_coded",
        description="A tie between a true and a false answer. as_coded: correct in FACTOR, wrong in TruthfulQA MC1. "
        "shared: split between the tied answers, and counted in a column of its own.",
    )
    length_bias: Literal["subtracted", "added"] = Field(
        "subtracted",
        description="Sign of the constant of the length-bias baseline. subtracted: the code. added: the paper.",
    )
    factor_shots: Literal["0", "6"] = Field(
        "0",
        description="Demonstrations before a FACTOR item. 0: as in the code, and recommended. 6: as the paper says; "
        "they are the last six items of the set, which are then not evaluated.",
    )
    selection: Literal["same_items", "halves"] = Field(
        "same_items",
        description="Where the best grid point is chosen. same_items: on the evaluated items themselves. halves: on "
        "one half, reported on the other, averaged over 20 halvings in both directions.",
    )

    @classmethod
    def base(cls, name: str) -> "Protocol":
        """`as_published` or `corrected`."""
        if name not in BASES:
            raise OffcourseError(f"there is no protocol {name!r}; {did_you_mean(name, BASES)}")
        if name == "as_published":
            return cls()
        values = {switch: get_args(field.annotation)[1] for switch, field in cls.model_fields.items()}
        return cls(**{**values, "factor_shots": "0"})  # the code's value is also the recommended one

    @classmethod
    def parse(cls, value: str | Mapping[str, Any]) -> "Protocol":
        """A protocol from its name, or from a mapping of switches with an optional `base` (default as_published).

        Raises `OffcourseError` with a did-you-mean for an unknown name, switch or value.
        """
        if isinstance(value, str):
            return cls.base(value)
        if not isinstance(value, Mapping):
            raise OffcourseError(f"expected as_published, corrected or a mapping of switches, got {value!r}")
        switches = dict(value)
        switches = cls.base(switches.pop("base", BASES[0])).model_dump() | {
            switch: _choice(cls, switch, choice) for switch, choice in switches.items()
        }
        return cls(**switches)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema of the values that `parse` accepts."""
        switches = {
            switch: {"description": field.description, "enum": _spellings(get_args(field.annotation))}
            for switch, field in cls.model_fields.items()
        }
        properties = {"base": {"enum": list(BASES)}, **switches}
        return {
            "anyOf": [
                {"enum": list(BASES)},
                {"type": "object", "properties": properties, "additionalProperties": False},
            ]
        }


def _spellings(values: Iterable[str]) -> list[str | int]:
    """The values of a switch as YAML may read them: a number may stand for its text (see `_choice`)."""
    return [spelling for value in values for spelling in ((value, int(value)) if value.isdigit() else (value,))]


def _choice(protocol: type[Protocol], switch: str, choice: Any) -> str:
    """The value `choice` of `switch`; YAML reads `factor_shots: 0` as a number, so numbers are taken as text."""
    fields = protocol.model_fields
    if switch not in fields:
        raise OffcourseError(f"there is no protocol switch {switch!r}; {did_you_mean(switch, [*fields, 'base'])}")
    values = get_args(fields[switch].annotation)
    text = str(choice) if type(choice) in (str, int) else None
    if text not in values:
        raise OffcourseError(
            f"the protocol switch {switch} is {' or '.join(values)}, not {choice!r}; "
            + did_you_mean(str(choice), values)
        )
    return text
