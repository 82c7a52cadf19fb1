"""Write `offcourse.yaml`, the environment for `--sdm conda`, from the one lock (`make envs`)."""

from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements.lock"
TARGET = Path(__file__).with_name("offcourse.yaml")


def environment() -> str:
    """The conda environment that holds exactly what the lock says."""
    pins = [line for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    head = "# Exported from requirements.lock with `make envs`; do not edit.\n"
    return (
        head
        + "channels:\n  - conda-forge\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n"
        + "".join(f"      - {pin}\n" for pin in pins)
    )


if __name__ == "__main__":
    TARGET.write_text(environment())
