"""What is meant to be shared says nothing of the user: no machine, no name, no folder, no token, no password."""

import getpass
import json
import platform
import re
import stat
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from lab import CHECKOUT, Lab
from PIL import Image

from offcourse.provenance.sharing import MARK, SALT, host_as

# Names of accounts that are words of any page.
EVERYWHERE = ("root", "user", "admin", "runner")


def private(lab: Lab) -> dict[str, str]:
    """Texts that no artefact may have, by what they are."""
    user, address = getpass.getuser(), urlsplit(lab.environment["HF_ENDPOINT"])
    found = {
        "the host's name": platform.node(),
        "the user's name": "" if user in EVERYWHERE else user,
        "the home folder": str(Path.home()),
        "the checkout": str(CHECKOUT),
        "the folder of the study": str(lab.folder.resolve()),
        "the token": lab.environment["HF_TOKEN"],
        "the password of HF_ENDPOINT": address.password or "",
        "the salt": (lab.folder / SALT).read_text(encoding="ascii").strip(),
    }
    return {what: text for what, text in found.items() if text}


def text_of(path: Path) -> str:
    """What a file says: its text, the cells and notes of a table, the notes of a picture."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        return frame.to_csv() + json.dumps(frame.attrs)
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return json.dumps(picture.info, default=str)
    return path.read_text(encoding="utf-8")


def leaks(folder: Path, texts: dict[str, str]) -> list[str]:
    """Every file of a folder that has one of the texts as a word of its own."""
    patterns = {what: re.compile(rf"(?<![A-Za-z0-9]){re.escape(text)}(?![A-Za-z0-9])") for what, text in texts.items()}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [
        f"{path.relative_to(folder)} holds {what}"
        for path in files
        for what, pattern in patterns.items()
        if pattern.search(str(path.relative_to(folder)) + "\n" + text_of(path))
    ]


# Logs and benchmarks stay where the study ran: a traceback has paths.
SHARED = ("figures", "tables", "provenance", "ro-crate")


@pytest.mark.parametrize("folder", SHARED)
def test_what_a_study_made_says_nothing_of_the_user(finished, folder):
    assert leaks(finished.results / folder, private(finished)) == []


def test_the_report_and_the_facts_of_models_say_nothing_of_the_user(finished, tmp_path):
    for path in (finished.results / "report.html", *finished.results.glob("*/model.json")):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        (tmp_path / path.parent.name / path.name).write_bytes(path.read_bytes())
    assert leaks(tmp_path, private(finished)) == []


def test_a_capsule_says_nothing_of_the_user(finished, tmp_path):
    done = finished.offcourse("capsule", "table3", tmp_path / "capsule", "--row", "FV search", "--column", "0.90")
    assert done.returncode == 0, done.stderr
    assert leaks(tmp_path / "capsule", private(finished)) == []


def test_the_archive_of_a_study_says_nothing_of_the_user(finished, tmp_path):
    done = finished.offcourse("share", "pack", tmp_path / "smoke.tar.gz")
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "smoke.tar.gz") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert (tmp_path / "unpacked" / "ro-crate" / "ro-crate-metadata.json").exists()
    names = private(finished)
    for path in (tmp_path / "unpacked").rglob("*.safetensors"):
        content = path.read_bytes()
        path.write_text(content[8 : 8 + int.from_bytes(content[:8], "little")].decode())
    assert leaks(tmp_path / "unpacked", names) == []


def test_the_search_finds_what_it_looks_for(finished, tmp_path):
    texts = private(finished)
    for number, text in enumerate(texts.values()):
        (tmp_path / f"{number}.json").write_text(json.dumps({"host": f"{text}: here"}))
        pd.DataFrame({"a": [f"on {text}"]}).to_parquet(tmp_path / f"{number}.parquet")
    assert len(leaks(tmp_path, texts)) >= 2 * len(texts)


def test_records_of_one_folder_name_a_machine_alike_and_others_otherwise(finished, tmp_path):
    records = (finished.results / "provenance").rglob("*.json")
    hosts = {json.loads(path.read_text())["made"]["host"] for path in records}
    assert hosts == {host_as("digest", finished.folder)}
    assert all(re.fullmatch(rf"{MARK}[0-9a-f]{{16}}", host) for host in hosts)
    assert host_as("digest", tmp_path) not in hosts
    assert host_as("digest", finished.folder, "another") not in hosts


def test_the_salt_is_as_readable_as_results_are(finished):
    """A lab's group runs in one folder."""
    salt, report = finished.folder / SALT, finished.results / "report.html"
    assert stat.S_IMODE(salt.stat().st_mode) == stat.S_IMODE(report.stat().st_mode)
