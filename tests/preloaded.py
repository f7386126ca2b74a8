"""A Python that has its libraries loaded: commands that tests start are forked from it, as processes of their own.

A command that imports torch, Ray and MLflow starts for ten seconds and works for one. Here one process imports them,
and `python` and `ead` of the folder that it fills are small programs that ask it for a fork with their arguments,
environment, folder, input and output, pass their signals on, and end as it ends.

    python preloaded.py FOLDER MODULE...
"""

import contextlib
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from pathlib import Path

FORWARDED = (signal.SIGINT, signal.SIGTERM)
PROGRAM = """#!{python} -IS
import sys
sys.path.insert(0, {here!r})
import preloaded
preloaded.ask({address!r}, {name!r})
"""


def ask(address, name):
    """What the small programs do: have a command done elsewhere, and end as it ended."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        request = json.dumps([[name, *sys.argv[1:]], os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(line, [len(request).to_bytes(4, "big")], [0, 1, 2])
        line.sendall(request)
        for number in FORWARDED:
            signal.signal(number, lambda number, _: line.sendall(bytes([number])))
        status = int.from_bytes(line.recv(2), "big", signed=True)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def serve(listener):
    """Fork for every request; returns in the forks, with the command that they are to run."""
    running, parent = {}, os.getppid()  # process ids by connection
    with selectors.DefaultSelector() as ready:
        ready.register(listener, selectors.EVENT_READ)
        while os.getppid() == parent:
            # Whoever was killed comes before new requests, which may be about what it has left behind.
            for key, _ in sorted(ready.select(timeout=0.02), key=lambda event: event[0].fileobj is listener):
                if key.fileobj is listener:
                    line, _ = listener.accept()
                    request, files = receive(line)
                    pid = os.fork()
                    if not pid:
                        for opened in (listener, line, *running):
                            opened.close()
                        return request, files
                    for file in files:
                        os.close(file)
                    running[line] = pid
                    ready.register(line, selectors.EVENT_READ)
                else:
                    pass_on(key.fileobj.recv(1), running[key.fileobj])
            for line, pid in list(running.items()):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with contextlib.suppress(OSError):
                        line.sendall(os.waitstatus_to_exitcode(status).to_bytes(2, "big", signed=True))
                    ready.unregister(line)
                    line.close()
                    del running[line]
    sys.exit()


def pass_on(message, pid):
    """Give a fork the signal of whoever asked for it, or end it with whoever is gone."""
    os.kill(pid, message[0] if message else signal.SIGKILL)  # it is there, even if dead, until it is waited for
    if not message:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def receive(line):
    """A request and its three open files."""
    size, files, _, _ = socket.recv_fds(line, 4, 3)
    request = b""
    while len(request) < int.from_bytes(size, "big"):
        request += line.recv(1 << 16)
    return json.loads(request), files


def become(request, files):
    """Take the place of the program that asked; its arguments."""
    (arguments, folder, environment), opened = request, files
    for number, file in enumerate(opened):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, 1 if number == 2 else -1, encoding="utf-8", closefd=False)
        for number, mode in enumerate("rww")
    )
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number in FORWARDED:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    return arguments


def run(name, *arguments):
    """What Python does with its arguments."""
    if name == "ead":
        sys.argv = [name, *arguments]
        importlib.import_module("ead_core.cli.main").main()
    elif arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] in ("-", "-c"):
        code, rest = (sys.stdin.read(), arguments[1:]) if arguments[0] == "-" else (arguments[1], arguments[2:])
        sys.argv = [arguments[0], *rest]
        sys.path.insert(0, os.getcwd())
        exec(compile(code, "<command>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = list(arguments)
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for module in sys.argv[2:]:
        importlib.import_module(module)
    sys.path.pop(0)  # this file's folder
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(place / "socket"))
    bound.listen(64)
    for program in ("python", "ead"):
        text = PROGRAM.format(
            python=sys.executable, here=str(Path(__file__).parent), address=str(place / "socket"), name=program
        )
        (place / program).write_text(text)
        (place / program).chmod(0o755)
    print("ready", flush=True)
    run(*become(*serve(bound)))
