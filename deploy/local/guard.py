"""Runs one program and does not let it outlive whoever asked for it.

Started by ``deploy.local.process`` as ``python -I -S guard.py PROGRAM ARGUMENT...`` with a socket as standard input:

    our process ──── socket ────► guard ──── fork, exec ────► program (its own process group)
                 signal numbers          signals
                 ◄── process id ──       SIGKILL when our process is gone

Why a process of its own: ``PR_SET_PDEATHSIG`` alone fires when the *thread* that forked ends, not the process, and
setting it needs code between fork and exec, which is unsafe in a process with threads. This one has a single thread,
so it can do both for its child; and for its own parent it relies on the end of the socket, which the kernel closes
whichever way that parent dies. Only the standard library, and little of it: it is up in some 25 ms.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys

_CONTROL = 0
_PR_SET_PDEATHSIG = 1
_CANNOT_EXECUTE = 127
_SIGNALLED = 128


def main(argv: list[str]) -> int:
    """Run the program to its end.

    Args:
        argv: The program, looked up on PATH, and its arguments.

    Returns:
        The program's exit code, or 128 plus the number of the signal that ended it, as shells do.
    """
    parent = os.getppid()
    _keep_to_ourselves()
    wake, wake_up = os.pipe()
    os.set_blocking(wake_up, False)
    signal.set_wakeup_fd(wake_up)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = _spawn(argv)
    signal.signal(signal.SIGTERM, lambda *_: _signal(child, signal.SIGTERM))
    os.write(_CONTROL, f"{child}\n".encode())

    while not _ended(child):
        # The timeout is for a parent that forked: its child shares the socket, so only the parent's id tells its end.
        ready, _, _ = select.select([_CONTROL, wake], [], [], 1.0)
        if wake in ready:
            os.read(wake, 512)
        order = _read_order() if _CONTROL in ready else None
        if order == signal.SIGKILL or os.getppid() != parent:
            break
        if order is not None:
            _signal(child, order)

    # The program is not reaped yet, so its group's id cannot have passed to anybody else.
    _signal(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else _SIGNALLED - code


def _keep_to_ourselves() -> None:
    """Stop the descriptors that we were handed, which are locks, from passing on to the program."""
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - names of descriptors, not paths
        if int(name) > sys.stderr.fileno():
            with contextlib.suppress(OSError):  # the descriptor of this very listing is closed by now
                os.set_inheritable(int(name), False)  # noqa: FBT003 - it takes no keywords


def _spawn(argv: list[str]) -> int:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    guard = os.getpid()
    child = os.fork()
    if child != 0:
        # Both sides make the group, for either may come first: a kill that finds no group yet would kill nobody.
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(child, child)
        return child
    try:
        os.setpgid(0, 0)
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(_CANNOT_EXECUTE)
        os.dup2(os.open(os.devnull, os.O_RDONLY), _CONTROL)
        for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored_by_python, signal.SIG_DFL)
        os.execvp(argv[0], argv)  # noqa: S606 - starting the given program is what this file is for
    except BaseException as error:  # noqa: BLE001 - nothing may return into the guard's own code
        os.write(2, f"cannot run {argv[0]}: {error}\n".encode())
    os._exit(_CANNOT_EXECUTE)


def _ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _read_order() -> int:
    try:
        order = os.read(_CONTROL, 1)
    except OSError:
        order = b""
    return order[0] if order else signal.SIGKILL


def _signal(child: int, number: int) -> None:
    """Send SIGKILL to the whole group, anything else to the program alone, which answers for its own children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if number == signal.SIGKILL:
            os.killpg(child, number)
        else:
            os.kill(child, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
