"""The computing site, described by the study's `resources`: nodes, cards (GPUs), power."""

import math

from offcourse.errors import OffcourseError, did_you_mean
from offcourse.study.config import Study

# Watts of a card (the limit of an A100 SXM), the share of these watts that is drawn, watts of a busy CPU core, energy
# of the building divided by the machines' energy (PUE; Uptime Institute, survey of 2023), g CO2 per kWh (world mean of
# 2023, Ember).
ENERGY = {"gpu_power": 400.0, "gpu_utilisation": 1.0, "cpu_power": 10.0, "pue": 1.58, "grid_intensity": 480.0}
# GB (1e9 bytes) of one card, cards of one node (0: no cards at all), CPUs for each card. A card that is sold with 80 GB
# has 79.1 GiB or more as torch reports it, which is 84.9 GB.
NODES = {"gpu_memory": 84.9, "gpus_per_node": 8.0, "cpus_per_gpu": 4.0}
SITE = NODES | ENERGY


def site_of(study: Study) -> dict[str, float]:
    """The study's `resources` with defaults. Raises `OffcourseError` for an unknown key or an impossible value."""
    site = dict(SITE)
    for key, value in study.resources.items():
        if key not in SITE:
            raise OffcourseError(f"resources.{key} is not known; {did_you_mean(key, SITE)}")
        # Values from a profile's `config` are texts.
        try:
            site[key] = float(value)
        except ValueError as error:
            raise OffcourseError(f"resources.{key}: expected a number, got {value!r}") from error
        whole = key in ("gpus_per_node", "cpus_per_gpu")
        least = 1 if key in ("gpu_memory", "cpus_per_gpu") else 0
        if not least <= site[key] < math.inf or (whole and site[key] % 1):
            kind = "a whole number" if whole else "a number"
            raise OffcourseError(f"resources.{key}: expected {kind} from {least} up, got {value!r}")
    return site
