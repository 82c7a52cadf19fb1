"""`offcourse.share.merge`: archives of another lab, whether its results are used, and what a kill leaves."""

import json
import os
import shutil

import labs
import pytest
from filelock import FileLock

from offcourse.audit.audit import Audit
from offcourse.audit.finding import INTACT
from offcourse.cli import main
from offcourse.data.registry import Registry
from offcourse.layout import Layout
from offcourse.share import merge as merging
from offcourse.share.differences import BEYOND, OPEN, WITHIN, differences
from offcourse.share.merge import merge
from offcourse.share.verify import SAME, verify
from offcourse.share.verify import WITHIN as ROUNDING
from offcourse.store.shards import ShardStore


def test_a_second_lab_uses_what_the_first_computed(ran, archive, empty, tmp_path):
    base = labs.copy(empty, tmp_path / "second")
    [said] = merge([archive], Layout("", base))
    assert (said.new, said.usable, said.same, said.different) == (7, 7, 0, 0)
    assert all(units == [] for units in labs.run(base, labs.study()).values())
    for path in Layout("one", ran).results.glob("provenance/*/*/*.json"):
        mine = base / path.relative_to(ran)
        assert labs.made(mine) == labs.made(path) and labs.made(mine)["host"].startswith("salted:")
    assert not (base / "results" / "store").exists()
    # An audit says whose results they are, and finds the chain behind one intact.
    checker = Audit(labs.study(), Registry.load(), Layout("one", base))
    host = labs.made(path)["host"]
    assert {machine: count for (machine, _), count in checker.labs().items()} == {host: 7}
    assert {each.state for each in checker.behind("results/one/tiny-llama/fv_sweep/present-past.parquet")} == {INTACT}
    # Without the archive the results mend the store, as after any loss of a shard.
    shutil.rmtree(base / "results" / "others")
    assert Audit(labs.study(), Registry.load(), Layout("one", base)).labs() == {}


def test_an_archive_is_merged_once(archive, tmp_path):
    layout = Layout("", tmp_path)
    assert merge([archive, archive], layout)[0].new == 7
    before = labs.store_of(tmp_path)
    assert merge([archive], layout) == [] and labs.store_of(tmp_path) == before


def test_what_is_there_already_is_counted_and_kept(ran, archive, elsewhere, tmp_path):
    base = labs.copy(ran, tmp_path / "mine")
    before = labs.store_of(base)
    one, other = merge([archive, elsewhere], Layout("", base))
    assert (one.new, one.same, one.different) == (0, 7, 0)
    # Where the other lab's rounding moved a number, later steps have keys of their own.
    assert other.new + other.same + other.different == 7 and other.different >= 2
    after = labs.store_of(base)
    assert {name: after[name] for name in before} == before


def test_labs_that_differ_are_side_by_side_and_both_can_be_verified(ran, elsewhere, tmp_path):
    base = labs.copy(ran, tmp_path / "mine")
    merge([elsewhere], Layout("", base))
    found = {each.result.step: each for each in differences(Layout("", base))}
    assert found.keys() >= {"head_means", "dola"}
    for each in found.values():
        assert each.contents[0].lab == "this store"
        assert len({content.sha256 for content in each.contents}) == len(each.contents) == 2
        assert each.floor and each.verdict in (WITHIN, OPEN)
    assert found["head_means"].verdict == WITHIN
    verdicts, _ = verify(labs.study(), Registry.load(), Layout("one", base), 99, 0)
    agree = {step: [each.agrees for each in verdicts if each.shard.step == step] for step in found}
    assert all(words == [SAME, ROUNDING] for words in agree.values())


def test_other_numbers_of_another_lab_are_beyond_the_floor(elsewhere, tmp_path):
    """Two archives, none of them this lab's: the first one merged is used."""
    files = labs.files_of(elsewhere)
    forged = labs.forged(files, "head_means", lambda tensors: {name: value * 1.01 for name, value in tensors.items()})
    merge([elsewhere], Layout("", tmp_path))
    merge([labs.written(tmp_path / "forged.tar.gz", forged)], Layout("", tmp_path))
    [difference] = differences(Layout("", tmp_path))
    assert difference.verdict == BEYOND and difference.contents[1].distance["mean"] == pytest.approx(0.01, rel=1e-3)
    assert [content.lab[:4] for content in difference.contents] == ["0001", "0002"]
    used = ShardStore(Layout("", tmp_path).store).path(difference.result.key, ".safetensors")
    assert used == tmp_path / difference.contents[0].path


@pytest.mark.parametrize("moment", ["unpack", "_check", "_compared", "_enter", "follow_umask"])
def test_a_kill_leaves_nothing_imported(archive, tmp_path, moment):
    child = os.fork()
    if child == 0:
        inner = getattr(merging, moment)

        def killed(*given):
            inner(*given) if moment in ("unpack", "_check") else None
            os._exit(9)

        setattr(merging, moment, killed)
        merge([archive], Layout("", tmp_path))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    layout = Layout("", tmp_path)
    left = [path.name for path in (tmp_path / "results" / "others").iterdir()]
    assert left and all(name.startswith(".merge.") for name in left)
    store = ShardStore(layout.store)
    assert not any(list(store.places(key, ".parquet")) for key in labs.keys_of(archive))
    assert merge([archive], layout)[0].new == 7
    assert [path.name for path in (tmp_path / "results" / "others").iterdir()] == ["0001"]


def test_a_dropped_shard_is_computed_again_wherever_it_came_from(archive, tmp_path):
    merge([archive], Layout("", tmp_path))
    store = ShardStore(Layout("", tmp_path).store)
    key = next(key for key in labs.keys_of(archive) if store.find(key, ".parquet"))
    store.drop(key, ".parquet")
    assert ShardStore(store.folder).find(key, ".parquet") is None


def command(monkeypatch, capsys, *words) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["offcourse", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, *capsys.readouterr()


def test_the_verbs(ran, archive, elsewhere, tmp_path, monkeypatch, capsys):
    base = labs.copy(ran, tmp_path / "mine")
    where = "--directory", base
    code, out, _ = command(monkeypatch, capsys, "share", "merge", archive, *where)
    assert (code, out.split(": ")[0]) == (0, archive.name) and "7 there already with the same content" in out
    code, out, _ = command(monkeypatch, capsys, "share", "merge", archive, elsewhere, *where)
    assert code == 1 and "1 of the archives had been merged before" in out
    assert "head_means tiny-llama present-past" in out and "within the rounding floor" in out
    code, out, _ = command(monkeypatch, capsys, "share", "show", *where)
    assert code == 1 and "this store" in out and "salted:" in out and "2 archives" in out
    code, out, _ = command(monkeypatch, capsys, "share", "show", *where, "--json")
    assert code == 1 and len(json.loads(out)["archives"]) == 2
    code, out, _ = command(monkeypatch, capsys, "share", "show", "--directory", tmp_path)
    assert (code, out) == (0, "0 archives; 0 shards that labs computed differently\n")
    config = tmp_path / "one.yaml"
    config.write_text(json.dumps(labs.STUDY), encoding="utf-8")
    words = "verify", "--sample", 2, "--seed", 3, "--configfile", config, *where
    code, out, err = command(monkeypatch, capsys, *words)
    known = 7 + len(differences(Layout("", base)))
    assert (
        code == 0 and f"2 of {known} shards of study one (--seed 3) computed anew agree: " in out and "2 of 2: " in err
    )
    assert command(monkeypatch, capsys, *words)[1] == out
    code, out, _ = command(monkeypatch, capsys, "share", "pack", tmp_path / "mine.tar.gz", *words[-4:])
    assert code == 0 and "7 results of study one in 21 files, without a crate" in out


def test_a_store_of_a_running_study_is_left_alone(archive, tmp_path, monkeypatch, capsys):
    lock = tmp_path / ".snakemake" / "offcourse.lock"
    lock.parent.mkdir()
    with FileLock(lock):
        for words in (["merge", archive], ["pack", tmp_path / "out.tar.gz"]):
            code, _, err = command(monkeypatch, capsys, "share", *words, "--directory", tmp_path)
            assert code == 2 and f"another run is at work in {tmp_path}" in err and "Traceback" not in err
    assert not (tmp_path / "results").exists() and not (tmp_path / "out.tar.gz").exists()
