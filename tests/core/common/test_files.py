"""Writing replaces the file that is meant, whole or not at all, and nothing else."""

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ead_core.common.files import PREFIX, check_writable, write_aside
from ead_core.errors import OutputError

HANGS = """
import sys, time
from ead_core.common.files import write_aside
with write_aside(sys.argv[1]) as aside:
    aside.write_text("half")
    print(aside.name, flush=True)
    time.sleep(60)
"""


def put(path, text="new"):
    with write_aside(path) as aside:
        aside.write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.fixture
def writer_at_work():
    """Starts a process that has written half of a file; gives it and its temporary name."""
    started = []

    def start(path):
        process = subprocess.Popen([sys.executable, "-c", HANGS, path], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_link_stays_one_and_its_end_is_written(tmp_path, depth):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file.txt").write_text("old")
    end = tmp_path / "there" / "file.txt"
    for number in range(depth):
        (tmp_path / f"link{number}.txt").symlink_to(end)
        end = tmp_path / f"link{number}.txt"
    put(end)
    assert end.is_symlink()
    assert (tmp_path / "there" / "file.txt").read_text() == end.read_text() == "new"
    assert not (tmp_path / "there" / "file.txt").is_symlink()
    assert names(tmp_path / "there") == ["file.txt"]


def test_a_relative_link_is_followed_from_where_it_lies(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "link").symlink_to("../b/file")
    monkeypatch.chdir(tmp_path)
    put("a/link")
    assert (tmp_path / "b" / "file").read_text() == "new"
    assert names(tmp_path / "a") == ["link"]


def test_a_link_to_nothing_makes_its_target(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    check_writable(tmp_path / "link")
    put(tmp_path / "link")
    assert names(tmp_path) == ["file", "link"]
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("write", [put, check_writable])
def test_a_link_into_a_folder_that_is_missing_is_refused(tmp_path, write):
    (tmp_path / "link").symlink_to(tmp_path / "unplugged" / "file")
    with pytest.raises(OutputError, match=r"it is a link to .*unplugged/file, and there is no such folder\."):
        write(tmp_path / "link")
    assert names(tmp_path) == ["link"]


@pytest.mark.parametrize("write", [put, check_writable])
def test_links_in_a_circle_are_refused(tmp_path, write):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OutputError, match=r"cannot write .*/a: Too many levels of symbolic links\."):
        write(tmp_path / "a")
    assert names(tmp_path) == ["a", "b"]


def test_a_folder_behind_a_link_is_written_into(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    put(tmp_path / "here" / "file")
    assert names(tmp_path / "there") == ["file"]


@pytest.mark.parametrize("write", [put, check_writable])
@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_is_not_replaced(tmp_path, write, linked):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    with pytest.raises(OutputError, match=r"it is a folder\."):
        write(tmp_path / ("link" if linked else "folder"))
    assert names(tmp_path) == ["folder", "link"]


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_into(tmp_path, linked):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    path = tmp_path / ("link" if linked else "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    check_writable(path)
    put(path, "through the pipe")
    reader.join(timeout=10)
    assert read == ["through the pipe"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == ["link", "pipe"]


def test_a_device_is_written_into(tmp_path):
    """A node of our own for what /dev/null is, since a mistake would replace it."""
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        (tmp_path / "null").write_text("can it be opened?")
    except PermissionError:
        pytest.skip("only root may make devices")
    put(tmp_path / "null")
    assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)
    assert names(tmp_path) == ["null"]


def test_a_terminal_is_written_into():
    pty = pytest.importorskip("pty")
    controller, terminal = pty.openpty()
    put(os.ttyname(terminal), "shown")
    assert os.read(controller, 100) == b"shown"
    os.close(controller)
    os.close(terminal)


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # its path may have 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(OutputError, match="cannot write socket: "):
            put("socket")
    assert names(tmp_path) == ["socket"]


PRINTS = """
from ead_core.common.files import write_aside
print("before")
with write_aside("/dev/stdout") as aside:
    aside.write_text("x\\n")
print("after")
"""


def test_standard_output_goes_on_where_it_was(tmp_path):
    """Where it is a file, opening it once more would empty it."""
    (tmp_path / "out").write_text("kept\n")
    with (tmp_path / "out").open("a") as out:
        subprocess.run([sys.executable, "-c", PRINTS], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "kept\nbefore\nx\nafter\n"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd", "/proc/PID/fd"])
def test_an_open_file_goes_on_where_it_was(tmp_path, folder):
    with (tmp_path / "file").open("w") as file:
        file.write("before ")
        file.flush()
        put(f"{folder.replace('PID', str(os.getpid()))}/{file.fileno()}", "x")
        file.write(" after")
    assert (tmp_path / "file").read_text() == "before x after"
    assert names(tmp_path) == ["file"]


def test_a_reader_that_has_gone_is_one_sentence():
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(OutputError, match=rf"cannot write /dev/fd/{writing}: Broken pipe\."):
        put(f"/dev/fd/{writing}")
    os.close(writing)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077, 0o002])
def test_a_new_file_has_the_mode_that_the_user_wants(tmp_path, umask, mask):
    umask(mask)
    put(tmp_path / "file")
    assert mode(tmp_path / "file") == 0o666 & ~mask


@pytest.mark.parametrize("before", [0o600, 0o640, 0o664, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, before):
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(before)
    put(tmp_path / "file")
    assert (mode(tmp_path / "file"), (tmp_path / "file").read_text()) == (before, "new")


def test_a_file_that_is_replaced_keeps_its_owner(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    (tmp_path / "file").write_text("old")
    os.chown(tmp_path / "file", 12345, 54321)
    put(tmp_path / "file")
    assert ((tmp_path / "file").stat().st_uid, (tmp_path / "file").stat().st_gid) == (12345, 54321)


@pytest.mark.parametrize("write", [put, check_writable])
def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, write, monkeypatch):
    (tmp_path / "file").write_text("precious")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "file")  # for root, everything may be written
    with pytest.raises(OutputError, match=r"it is there already, and you may not write to it\."):
        write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("write", [put, check_writable])
@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}.npz", f"{'y' * 300}/file"], ids=len)
def test_a_name_that_is_too_long_is_one_sentence(tmp_path, write, name):
    with pytest.raises(OutputError, match=r"cannot write .*: File name too long\."):
        write(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".npz", "a." + "b" * 250, "a" + ".b" * 100 + ".sdf.gz", ".hidden", "a b\nc"]
)
def test_every_name_that_the_system_takes_can_be_written(tmp_path, name):
    put(tmp_path / name)
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", ["x.sdf.gz", "v1.2.npz", "x.xyz", "x"])
def test_the_temporary_name_has_the_same_ending(tmp_path, name):
    with write_aside(tmp_path / name) as aside:
        assert aside.name.endswith("".join(Path(name).suffixes[-1:]))
        assert aside.parent == tmp_path
        aside.write_text("")


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path, writer_at_work):
    put(tmp_path / "file", "old")
    process, left = writer_at_work(tmp_path / "file")
    assert names(tmp_path) == [left, "file"]
    process.kill()
    process.wait()
    assert (tmp_path / "file").read_text() == "old"
    put(tmp_path / "other")
    assert names(tmp_path) == ["file", "other"]


def test_what_another_process_is_writing_is_left_alone(tmp_path, writer_at_work):
    _, at_work = writer_at_work(tmp_path / "file")
    put(tmp_path / "other")
    assert names(tmp_path) == [at_work, "other"]


def test_what_another_thread_is_writing_is_left_alone(tmp_path):
    with write_aside(tmp_path / "slow") as aside:
        aside.write_text("slow")
        other = threading.Thread(target=put, args=(tmp_path / "fast",))
        other.start()
        other.join()
    assert names(tmp_path) == ["fast", "slow"]


@pytest.mark.parametrize("name", [f"{PREFIX}abc.npz", f"{PREFIX}x", f"{PREFIX}{2**40}-ab.npz", PREFIX])
def test_leftovers_of_any_name_are_removed(tmp_path, name):
    (tmp_path / name).write_text("half")
    put(tmp_path / "file")
    assert names(tmp_path) == ["file"]


def test_only_files_of_that_name_are_removed(tmp_path):
    kept = [".writing", "x.writing-1", "writing-2"]
    for name in kept:
        (tmp_path / name).write_text("mine")
    (tmp_path / f"{PREFIX}folder").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / ".writing")
    put(tmp_path / "file")
    assert names(tmp_path) == sorted([*kept, f"{PREFIX}folder", f"{PREFIX}link", "file"])


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt(), ValueError("no")])
def test_a_writer_that_fails_leaves_everything_as_it_was(tmp_path, error):
    (tmp_path / "file").write_text("old")

    def die_half_way():
        with write_aside(tmp_path / "file") as aside:
            aside.write_text("half")
            raise error

    with pytest.raises(type(error)):
        die_half_way()
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"
