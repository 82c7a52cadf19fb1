"""The rules that decide claims: each makes one number with its 95 % interval from tables and figures.

Arguments other than the first are texts, as `resources/claims.tsv` has them.
"""

from collections.abc import Callable

from offcourse.claims import dola_rules, head_rules, layer_rules, recovery_rules
from offcourse.claims.numbers import Found

RULES: dict[str, Callable[..., Found]] = {
    rule.__name__: rule
    for rule in (
        recovery_rules.share_recovered,
        recovery_rules.share_recovered_more,
        recovery_rules.share_that_recover,
        recovery_rules.share_that_fail,
        recovery_rules.share_with_low_average,
        recovery_rules.mean_change_of_pairs,
        recovery_rules.mean_change_by_shots,
        recovery_rules.spread_of_layers,
        recovery_rules.strongest_fact,
        head_rules.share_with_many_heads,
        head_rules.share_with_more_heads_for,
        head_rules.share_with_other_heads,
        dola_rules.share_that_gains,
        dola_rules.share_significant,
        dola_rules.share_with_one_answer,
        dola_rules.smallest_change,
        dola_rules.largest_loss,
        layer_rules.share_with_late_rise,
        layer_rules.early_letters,
        layer_rules.early_certainty,
        layer_rules.share_that_turn_together,
    )
}
