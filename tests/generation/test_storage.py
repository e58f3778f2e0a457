"""A dataset in an S3-compatible store: the same bytes, one writer, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")

from mf_plugin.errors import InputError, RunFailed  # noqa: E402
from mf_plugin.generation.lease import Lease  # noqa: E402
from mf_plugin.generation.run import generate, generate_to, preview  # noqa: E402
from mf_plugin.generation.storage import LocalStorage, ObjectStorage, open_storage  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))
import squares_generator  # noqa: E402
from squares_generator import SquaresConfig  # noqa: E402

SECONDS = 1.0  # of a lease


@pytest.fixture(scope="module", autouse=True)
def endpoint() -> Iterator[str]:
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    values = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        ObjectStorage("s3://bucket/any")._fs.mkdir("bucket")
        yield values["AWS_ENDPOINT_URL"]
    started.stop()


@pytest.fixture
def remote(request) -> ObjectStorage:
    """A folder of the test's own."""
    return ObjectStorage(f"s3://bucket/{abs(hash(request.node.name))}/set", SECONDS)


@pytest.fixture
def squares(tmp_path) -> Callable[..., SquaresConfig]:
    def make(**changes: Any) -> SquaresConfig:
        (tmp_path / "marks").mkdir(exist_ok=True)
        return SquaresConfig(marks=tmp_path / "marks", **changes)

    return make


def local_files(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every file but the lock and run.json."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", ".generate.lock")
    }


def remote_files(storage: ObjectStorage) -> dict[str, bytes]:
    found = storage._fs.find(storage._base, refresh=True)
    names = [path[len(storage._base) + 1 :] for path in found]
    return {name: storage.read(name) for name in sorted(names) if name != "run.json"}


def test_a_store_holds_what_a_folder_holds(remote, squares, tmp_path):
    folder = generate(squares(), tmp_path / "set")
    generate_to(remote, squares())
    assert remote_files(remote) == local_files(folder) and len(local_files(folder)) > 10
    before = remote._fs.info(remote._path("dataset.json"))["LastModified"]
    generate_to(remote, squares())  # complete: left as it is
    assert remote._fs.info(remote._path("dataset.json"), refresh=True)["LastModified"] == before
    with pytest.raises(InputError, match="begun with other settings .config.num_images: 11 -> 3"):
        generate_to(remote, squares(num_images=3))


def test_a_dataset_comes_down_with_one_line_of_fsspec(remote, squares, tmp_path):
    generate_to(remote, squares())
    script = (
        "import sys, fsspec; fsspec.url_to_fs(sys.argv[1])[0].get(*sys.argv[1:], recursive=True)"
    )
    command = [sys.executable, "-c", script, f"{remote}/", str(tmp_path / "down")]
    done = subprocess.run(command, env=os.environ.copy(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert local_files(tmp_path / "down") == remote_files(remote)
    generate(squares(), tmp_path / "down")  # complete, and of this config


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from squares_generator import SquaresConfig
from mf_plugin.generation.run import generate_to
from mf_plugin.generation.storage import ObjectStorage
config = SquaresConfig(marks=Path({marks!r}), killed={{3: 1}}, seconds=0.5)
generate_to(ObjectStorage({url!r}, 1.0), config)
"""


def test_a_killed_writer_is_followed_by_the_next_one(remote, squares, tmp_path):
    folder = generate(squares(), tmp_path / "set")
    marks = str(squares().marks)
    script = KILLED.format(tests=str(Path(__file__).parent), marks=marks, url=remote.root)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run([sys.executable, "-c", script], env=environment)
    assert done.returncode == -signal.SIGKILL
    done = [name for name in remote.names("groups") if name != "identity.json"]
    assert 1 <= len(done) <= 3  # what was being put is lost
    assert remote.exists(".generate.lock") and not remote.exists("dataset.json")
    begin = time.monotonic()
    generate_to(remote, squares())
    assert time.monotonic() - begin > SECONDS  # it saw that nobody renews the lease
    assert remote_files(remote) == local_files(folder)
    run = json.loads(remote.read("run.json"))
    assert run["canvases"] == 11 - 2 * len(done)


def test_a_second_writer_is_turned_away(remote, squares):
    running = threading.Thread(target=generate_to, args=(remote, squares(seconds=1.0)))
    running.start()
    while not remote.exists(".generate.lock"):
        time.sleep(0.05)
    with pytest.raises(InputError, match="another process is writing s3://.*on "):
        generate_to(ObjectStorage(remote.root, SECONDS), squares())
    running.join()
    assert json.loads(remote.read("run.json"))["canvases"] == 11
    assert not remote.exists(".generate.lock")


def test_a_writer_that_was_replaced_stops(remote):
    with remote.hold():
        remote.write({"groups/a": b"a"})
        path = remote._path(".generate.lock")
        remote._fs.pipe_file(path, json.dumps({"token": "another's"}).encode())
        time.sleep(SECONDS)
        with pytest.raises(RunFailed, match="another process has taken over s3://"):
            remote.write({"groups/b": b"b"})
    assert list(remote.names("groups")) == ["a"]
    assert json.loads(remote._fs.cat_file(path)) == {"token": "another's"}  # not ours to remove


def test_a_lease_is_renewed(remote):
    path = remote._path(".generate.lock")
    with Lease(remote._fs, path, "it", SECONDS):
        beats = []
        for _ in range(4):
            beats.append(json.loads(remote._fs.cat_file(path))["beat"])
            time.sleep(SECONDS / 2)
        assert beats == sorted(set(beats)) and len(beats) == 4


def test_a_preview_replaces_the_last_one(remote, squares):
    for number in (4, 2):
        assert preview(squares(), remote, number) == f"{remote}-preview"
    lines = remote.beside("-preview").read("manifest.jsonl").splitlines()
    assert len(lines) == 2 and not list(remote.names())


def test_what_others_put_is_left_alone(remote, squares):
    remote.write({"thesis.txt": b"mine"})
    with pytest.raises(InputError, match="holds other files .thesis.txt."):
        generate_to(remote, squares())
    assert remote_files(remote) == {"thesis.txt": b"mine"}


def test_a_run_that_fails_at_its_first_group_leaves_nothing(remote, squares):
    with pytest.raises(ZeroDivisionError):
        generate_to(remote, squares(broken={0: 1}))
    assert not list(remote.names())


@pytest.mark.parametrize(
    "url, message",
    [
        ("s3://no-such-bucket/set", "cannot write s3://no-such-bucket/set: no-such-bucket cannot"),
        ("nonsense://bucket/set", "cannot write nonsense://bucket/set: Protocol not known"),
    ],
)
def test_a_url_that_cannot_be_written_is_one_line(url, message, squares):
    with pytest.raises(InputError, match=message):
        generate_to(open_storage(url), squares())


def test_many_files_are_read_in_their_order(remote, tmp_path):
    for storage in (remote, LocalStorage(tmp_path / "set")):
        if storage is not remote:
            storage.root.mkdir()
        storage.write({f"groups/{n}": b"%d" % n for n in range(300) if n % 7})
        with storage.hold():
            found = list(storage.read_each(f"groups/{n}" for n in range(300)))
        assert found == [b"%d" % n if n % 7 else None for n in range(300)]


@pytest.mark.heavy
def test_workers_on_ray_and_a_store(remote, squares, tmp_path):
    ray = pytest.importorskip("ray")
    from mf_plugin.generation.ray_maker import RayConfig

    ray.cloudpickle.register_pickle_by_value(squares_generator)
    folder = generate(squares(), tmp_path / "set")
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20)
    try:
        generate_to(remote, squares(killed={1: 1}), ray=RayConfig(workers=2))
    finally:
        ray.shutdown()
    assert remote_files(remote) == local_files(folder)
    assert len(json.loads(remote.read("run.json"))["failures"]) == 1
