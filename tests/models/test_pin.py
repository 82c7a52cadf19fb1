"""`offcourse pin`: the hub's client, in a process of its own, against a hub on this machine."""

import json
import shutil
import socket
import subprocess
import traceback
from pathlib import Path
from urllib.parse import urlsplit

import hub
import pytest
from forking import environment, python

from offcourse.data.names import RESOURCES
from offcourse.data.pins import LOCK, PUBLIC_CODE, UNKNOWN, read_lock
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.models.hub import asking

CHECKOUT = Path(__file__).resolve().parents[2]
STUDY = """
study: mine
models: [tiny-llama, pythia-6.9b, amber-7b-21b]
tasks: [antonym]
"""


class Desk:
    """A copy of the resources, a study of three models (two of them of the hub), and the user's commands."""

    def __init__(self, folder: Path, served: hub.Hub):
        self.folder, self.served, self.resources = folder, served, folder / "resources"
        shutil.copytree(RESOURCES, self.resources, ignore=shutil.ignore_patterns("downloads", LOCK))
        self.study = folder / "mine.yaml"
        self.study.write_text(STUDY)

    @property
    def lock(self) -> Path:
        return self.resources / LOCK

    def offcourse(self, *words, **variables) -> subprocess.CompletedProcess:
        own = {"OFFCOURSE_RESOURCES": str(self.resources)} | self.served.environment(self.folder / "home")
        command = [python(), "-m", "offcourse", *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=environment() | own | variables, timeout=120
        )

    def pin(self, *words, **variables) -> subprocess.CompletedProcess:
        return self.offcourse("pin", "--configfile", self.study, *words, **variables)

    def refused(self, *words, **variables) -> str:
        """The message of a `pin` that must fail without touching the lock."""
        before = self.lock.read_bytes() if self.lock.exists() else None
        done = self.pin(*words, **variables)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "Traceback" not in done.stderr and done.stderr.startswith("offcourse: ")
        assert (self.lock.read_bytes() if self.lock.exists() else None) == before
        assert [path for path in self.resources.iterdir() if path.name.startswith(".")] == []
        return done.stderr


@pytest.fixture
def desk(tmp_path):
    with hub.serving(hub.Hub()) as served:
        yield Desk(tmp_path, served)


def test_a_study_s_models_get_the_commit_of_their_revision(desk):
    done = desk.pin("--json")
    assert done.returncode == 0, done.stderr
    said = {"lock": str(desk.lock), "pinned": ["pythia-6.9b", "amber-7b-21b"], "kept": []}
    assert json.loads(done.stdout) == said | {"confirmed": [], "moved": {}}
    amber = hub.commit("LLM360/Amber", "ckpt_005")
    assert desk.lock.read_text().splitlines() == [
        "name\trepo\trevision\tcommit\tdate\tlicence\tgated\tsource",
        f"pythia-6.9b\tEleutherAI/pythia-6.9b\tmain\t{hub.commit('EleutherAI/pythia-6.9b', 'main')}\t"
        "2024-11-25T10:20:30+00:00\tapache-2.0\tno\thub",
        f"amber-7b-21b\tLLM360/Amber\tckpt_005\t{amber}\t2024-11-25T10:20:30+00:00\tapache-2.0\tno\thub",
    ]
    registry = Registry.load(desk.resources)
    assert registry.model("amber-7b-21b").revision == amber and registry.model("amber-7b-21b").pinned
    assert not registry.model("amber-7b").pinned
    assert Registry.load(desk.resources, locked=False).model("amber-7b-21b").revision == "ckpt_005"


def test_without_a_study_every_hub_model_is_pinned(desk):
    done = desk.offcourse("pin")
    assert done.returncode == 0, done.stderr
    registry = Registry.load(desk.resources)
    of_the_hub = [model for model in registry.models.values() if model.source == "hub"]
    assert done.stdout == f"{desk.lock}: {len(of_the_hub)} pinned, 0 pinned before and kept. Commit it.\n"
    assert all(model.pinned for model in of_the_hub)


def test_a_pinned_model_stays_where_it_is_until_it_is_told_to_move(desk):
    assert desk.pin().returncode == 0
    before = desk.lock.read_text()
    desk.served.moved["EleutherAI/pythia-6.9b", "main"] = "f" * 40
    desk.served.asked.clear()
    assert desk.pin().returncode == 0
    assert desk.served.asked == [] and desk.lock.read_text() == before
    assert json.loads(desk.pin("--update", "--json").stdout)["pinned"] == ["pythia-6.9b", "amber-7b-21b"]
    assert Registry.load(desk.resources).model("pythia-6.9b").revision == "f" * 40


def test_another_revision_in_the_table_is_another_pin(desk):
    assert desk.pin().returncode == 0
    table = desk.resources / "models.tsv"
    table.write_text(table.read_text().replace("ckpt_005", "ckpt_006"))
    assert not Registry.load(desk.resources).model("amber-7b-21b").pinned
    assert json.loads(desk.pin("--json").stdout) == {
        "lock": str(desk.lock),
        "pinned": ["amber-7b-21b"],
        "kept": ["pythia-6.9b"],
        "confirmed": [],
        "moved": {},
    }
    assert Registry.load(desk.resources).model("amber-7b-21b").revision == hub.commit("LLM360/Amber", "ckpt_006")


def seen(desk: Desk, commit: str) -> None:
    """A lock with one commit that was seen in public code."""
    names = ["name", "repo", "revision", "commit", "date", "licence", "gated", "source"]
    row = ["pythia-6.9b", "EleutherAI/pythia-6.9b", "main", commit, UNKNOWN, UNKNOWN, UNKNOWN, PUBLIC_CODE]
    desk.lock.write_text("\t".join(names) + "\n" + "\t".join(row) + "\n", encoding="utf-8")


def test_a_commit_of_public_code_is_run_and_the_first_hub_confirms_it_and_says_what_moved(desk):
    seen(desk, "a" * 40)
    assert Registry.load(desk.resources).model("pythia-6.9b").revision == "a" * 40
    now = hub.commit("EleutherAI/pythia-6.9b", "main")
    done = desk.pin()
    assert done.stdout == (
        f"pythia-6.9b: main of EleutherAI/pythia-6.9b means {now} by now. `--update` would move to it.\n"
        f"{desk.lock}: 1 pinned, 1 pinned before and kept (1 of them from public code, confirmed now). Commit it.\n"
    )
    row = desk.lock.read_text().splitlines()[1].split("\t")
    assert row[2:] == ["main", "a" * 40, "2024-11-25T10:20:30+00:00", "apache-2.0", "no", "hub"]
    desk.served.asked.clear()
    assert "moved" not in desk.pin().stdout and desk.served.asked == []
    assert desk.pin("--update").returncode == 0
    assert Registry.load(desk.resources).model("pythia-6.9b").revision == now


def test_a_commit_of_public_code_that_the_hub_lacks_is_refused_and_the_advice_works(desk):
    seen(desk, "b" * 40)
    desk.served.missing = {("EleutherAI/pythia-6.9b", "b" * 40)}
    says = desk.refused()
    assert f"pythia-6.9b: {desk.lock} has commit {'b' * 40} from public code, but the hub refuses it" in says
    assert f"Delete the model's row there and run `offcourse pin --configfile {desk.study}` again" in says
    desk.lock.write_text(desk.lock.read_text().splitlines()[0] + "\n", encoding="utf-8")
    assert desk.pin().returncode == 0
    assert Registry.load(desk.resources).model("pythia-6.9b").revision == hub.commit("EleutherAI/pythia-6.9b", "main")


def test_tracked_commits_of_public_code_are_of_models_in_the_table_at_their_own_revision():
    pins, models = read_lock(RESOURCES / LOCK), Registry.load(locked=False).models
    assert len(pins) >= 36
    for pin in pins.values():
        assert (models[pin.name].repo, models[pin.name].revision) == (pin.repo, pin.revision)
        assert models[pin.name].source == "hub" and pin.source in (PUBLIC_CODE, "hub")


def test_a_gated_model_says_which_licence_to_accept_and_where_the_token_goes(desk):
    desk.served.gated = {"LLM360/Amber"}
    says = desk.refused()
    assert "amber-7b-21b (LLM360/Amber) is gated and no token is set here: accept its licence (Apache-2.0)" in says
    assert "https://huggingface.co/LLM360/Amber, then put a token of that account into HF_TOKEN, or store it" in says
    assert "this machine's token was not accepted" in desk.refused(HF_TOKEN="hf_another")
    assert desk.pin(HF_TOKEN="hf_theirs").returncode == 0
    assert desk.lock.read_text().splitlines()[-1].endswith("\tmanual\thub")


def test_every_refused_model_is_told_at_once(desk):
    desk.served.unknown = {"EleutherAI/pythia-6.9b"}
    desk.served.missing = {("LLM360/Amber", "ckpt_005")}
    first, second, last = desk.refused().splitlines()
    assert first.startswith(
        "offcourse: pythia-6.9b (EleutherAI/pythia-6.9b) was not found on the hub, or needs a token"
    )
    assert second.startswith("amber-7b-21b (LLM360/Amber) has no branch, tag or commit 'ckpt_005'")
    assert last == f"Nothing was pinned; {desk.lock} is as it was."


def test_without_a_network_nothing_is_pinned(desk):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        says = desk.refused(HF_ENDPOINT=f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert says.startswith("offcourse: the hub cannot be asked about pythia-6.9b (EleutherAI/pythia-6.9b) (")
    assert "Run the same command where it can be reached" in says and says.count("\n") == 1
    assert "the hub cannot be asked about pythia-6.9b" in desk.refused(HF_HUB_OFFLINE="1")


def test_a_study_of_unpinned_models_stops_with_one_message(desk):
    done = desk.offcourse("status", "--configfile", desk.study)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "offcourse: 2 of the study's models are not pinned to a commit: pythia-6.9b, amber-7b-21b. Run `offcourse pin "
        f"--configfile FILE` (FILE is the study's) where the hub can be reached, and commit {desk.lock}.\n"
    )
    assert desk.pin().returncode == 0
    assert desk.offcourse("status", "--configfile", desk.study).returncode == 1


def test_a_damaged_lock_is_named(desk):
    assert desk.pin().returncode == 0
    desk.lock.write_text(desk.lock.read_text().replace(hub.commit("LLM360/Amber", "ckpt_005"), "ckpt_005"))
    says = desk.refused()
    assert f"{desk.lock}, line 3, column commit: expected 40 hexadecimal digits, got 'ckpt_005'" in says


def test_an_unknown_model_of_a_study_gets_a_suggestion(desk):
    desk.study.write_text(STUDY.replace("pythia-6.9b", "pythia-6b"))
    assert "there is no model 'pythia-6b' in models.tsv; did you mean 'pythia-6.9b'?" in desk.refused()


def test_as_of_a_day_each_branch_means_its_last_commit_before_that_day(desk):
    made = [("c" * 40, "2025-06-01"), ("b" * 40, "2025-04-08"), ("a" * 40, "2025-04-07"), ("9" * 40, "2024-01-01")]
    desk.served.commits["EleutherAI/pythia-6.9b", "main"] = made
    desk.served.moved["EleutherAI/pythia-6.9b", "main"] = "c" * 40
    assert desk.pin("--as-of", "2025-04-08").returncode == 0
    assert Registry.load(desk.resources).model("pythia-6.9b").revision == "a" * 40
    assert desk.lock.read_text().splitlines()[1].split("\t")[2] == "main"
    assert desk.pin("--update").returncode == 0
    assert Registry.load(desk.resources).model("pythia-6.9b").revision == "c" * 40
    says = desk.refused("--update", "--as-of", "2023-01-01")
    assert (
        "pythia-6.9b (EleutherAI/pythia-6.9b) has no commit of 'main' before 2023-01-01; the first is of 2024-01-01"
        in says
    )
    assert "amber-7b-21b" in says
    assert desk.pin("--as-of", "April").returncode == 2


def test_as_of_a_day_a_commit_of_public_code_is_compared_with_that_day_s(desk):
    seen(desk, "a" * 40)
    desk.served.commits["EleutherAI/pythia-6.9b", "main"] = [("c" * 40, "2025-06-01"), ("a" * 40, "2025-04-07")]
    done = desk.pin("--as-of", "2025-04-08")
    assert done.returncode == 0 and "meant" not in done.stdout, done.stdout
    seen(desk, "a" * 40)
    assert f"means {hub.commit('EleutherAI/pythia-6.9b', 'main')} by now" in desk.pin().stdout


def test_models_without_weights_that_can_be_read_are_named(desk):
    desk.served.files["EleutherAI/pythia-6.9b"] = {"pytorch_model.bin": 9, "config.json": 1}
    assert desk.pin().returncode == 0
    desk.served.files = {
        "EleutherAI/pythia-6.9b": {"flax_model.msgpack": 9, "config.json": 1},
        "LLM360/Amber": {"config.json": 1},
    }
    first, second, _ = desk.refused("--update").splitlines()
    assert "pythia-6.9b (EleutherAI/pythia-6.9b) has no weights that can be read at 'main'" in first
    assert "neither safetensors nor pytorch_model.bin (flax_model.msgpack). Choose a `revision`" in first
    assert "amber-7b-21b (LLM360/Amber) has no weights that can be read at 'ckpt_005'" in second


PASSWORD = "Th3Passw.rd"


@pytest.mark.parametrize(
    "written",
    [PASSWORD, f"{PASSWORD}%2F", f"{PASSWORD}/rest", f"{PASSWORD}@", f"[{PASSWORD}"],
    ids=["plain", "percent", "slash", "at", "bracket"],
)
@pytest.mark.parametrize("address", ["closed", "invalid", "failing"])
def test_no_message_holds_the_password_of_the_hub_s_address(desk, written, address):
    """Whatever the client says, and also where it cannot take the address apart."""
    desk.served.missing = {("EleutherAI/pythia-6.9b", "main")}
    desk.served.gated = {"LLM360/Amber"}
    host = {"closed": "127.0.0.1:1", "invalid": "hub.invalid", "failing": urlsplit(desk.served.address).netloc}[address]
    says = desk.refused(HF_ENDPOINT=f"http://someone:{written}@{host}")
    assert PASSWORD not in says and "rest" not in says.replace("restricted", "") and "someone" not in says


def test_what_the_client_quotes_loses_names_and_passwords(monkeypatch):
    """The client's library quotes addresses as it likes, and proxies have passwords too."""
    monkeypatch.setenv("HF_ENDPOINT", "https://someone:s%40cret@hub.example")
    quoted = "no https://someone:s%40cret@hub.example/x@main, http://t0ken@proxy:80/y?a=b@c; user s@cret refused"
    with pytest.raises(OffcourseError) as told, asking(Registry.load().model("amber-7b"), "it", "said: {reason}"):
        raise OSError(quoted)
    assert str(told.value) == "said: OSError: no https://hub.example/x@main, http://proxy:80/y?a=b@c; user *** refused"
    shown = "".join(traceback.format_exception(told.value))
    assert "s%40cret" not in shown and "s@cret" not in shown


def test_a_study_without_hub_models_has_nothing_to_pin(desk):
    desk.study.write_text(STUDY.replace("[tiny-llama, pythia-6.9b, amber-7b-21b]", "[tiny-llama]"))
    done = desk.pin()
    assert done.returncode == 0 and not desk.lock.exists()
    assert done.stdout == f"Nothing to pin: no model of {desk.study} is on the hub. {desk.lock} was not touched.\n"
    nothing = {"lock": str(desk.lock), "pinned": [], "kept": [], "confirmed": [], "moved": {}}
    assert json.loads(desk.pin("--json").stdout) == nothing
    assert desk.served.asked == [] and not desk.lock.exists()
