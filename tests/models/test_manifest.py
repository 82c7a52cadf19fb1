"""The notes that jobs of one model write into its folder, side by side."""

from offcourse.data.registry import Registry
from offcourse.files import write_whole
from offcourse.models import manifest
from offcourse.models.fetch import prepare


def test_what_another_job_has_hashed_may_be_written_meanwhile(tmp_path):
    registry, folder, found = Registry.load(), tmp_path / "tiny-llama", []
    prepare(registry.model("tiny-llama"), registry, folder, tmp_path / "packages")
    write_whole(folder / manifest.SEEN, lambda path: found.append((path.parent, manifest.changes(folder))))
    assert found == [(folder, {})]
    (folder / ".evil.json.x.json").write_text("{}")
    assert manifest.changes(folder) == {".evil.json.x.json": "not a file of the prepared model"}
