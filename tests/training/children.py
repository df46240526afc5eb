"""Trains the toy in processes of its own, some of which are killed with SIGKILL over and over.

children.py FOLDER    trains into FOLDER/straight (nobody is killed), /sudden (killed at random instants), /calls
(killed at every call that changes the disk) and /team (two processes share each batch). Prints one line a child: the
folder, how it ended, the step of the checkpoint that it left.
Forks, so that torch is imported once.
"""
from __future__ import annotations

import logging
import os
import random
import signal
import socket
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)      # Python 3.12 warns of threads
sys.path.insert(0, str(Path(__file__).parent))
import conftest  # noqa: E402  the toy
import torch  # noqa: E402
from torch.utils.tensorboard import SummaryWriter  # noqa: E402, F401  imported before the fork

from omniform.system.storage import find_folder, read_folder  # noqa: E402
from omniform.training.plan import Training  # noqa: E402
from omniform.training.trainer import train  # noqa: E402


def die_at_call(number):
    """SIGKILL to oneself just before the Nth call that changes the disk."""
    count = 0

    def watched(original):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)
        return call
    for name in ("mkdir", "rename", "replace", "fsync", "unlink", "rmdir"):
        setattr(os, name, watched(getattr(os, name)))


def alone(out, call=None, on_step=None):
    if call is not None:
        die_at_call(call)
    train(conftest.Toy(), conftest.points(), Training(**conftest.SHORT), out=out, resume=True, on_step=on_step)


def killed_around(out, step, delay):
    """A child that says when it is at a step, dawdles from there on, and is killed some time later."""
    heard, said = os.pipe()

    def on_step(now, loss):
        if now >= step:
            os.write(said, b".")
            time.sleep(0.02)
    pid = fork(lambda: alone(out, on_step=on_step))
    os.read(heard, 1)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    ended(out, pid)


def member(out, rank, port):
    os.environ.update(ACCELERATE_USE_CPU="true", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2",
                      LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    system = conftest.Toy(dropout=0, noise=0, weighted=True)
    if rank:
        torch.nn.init.normal_(system.out.weight)        # everybody starts from the leader's weights all the same
    train(system, conftest.points(), Training(**{**conftest.SHORT, "batch": 9}), out=out)


def fork(job):
    pid = os.fork()
    if pid == 0:
        logging.disable()
        try:
            job()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return pid


def ended(out, pid):
    _, status = os.waitpid(pid, 0)
    place = out / "checkpoint"
    step = 0 if find_folder(place) is None else read_folder(place, ["state.json"])["state.json"]["step"]
    print(out.name, "killed" if os.WIFSIGNALED(status) else f"exit-{os.WEXITSTATUS(status)}", step, flush=True)


def main(folder):
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(2, requires_grad=True)], fused=True).step()      # imports much, once
    ended(folder / "straight", fork(lambda: alone(folder / "straight")))
    for step in (2, 9, 13, 18):
        killed_around(folder / "sudden", step, random.uniform(0, 0.1))
    ended(folder / "sudden", fork(lambda: alone(folder / "sudden")))
    for call in [*range(1, 32), None]:
        ended(folder / "calls", fork(lambda call=call: alone(folder / "calls", call)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for pid in [fork(lambda rank=rank: member(folder / "team", rank, port)) for rank in range(2)]:
        ended(folder / "team", pid)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
