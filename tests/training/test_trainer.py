"""A run: what it learns, what it refuses, what it leaves, and that nothing is lost."""
from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from omniform.core.errors import BadArgument, CheckpointError, TrainingError
from omniform.core.rng import Rng
from omniform.data import order
from omniform.system.storage import read_folder
from omniform.training import checkpoints, journal
from omniform.training.ema import Ema
from omniform.training.plan import Training
from omniform.training.trainer import train

HERE = Path(__file__).parent
TENSORS = ("weights.safetensors", "ema.safetensors", "optimizer-main.safetensors")


def tensors(out):
    files = read_folder(out / "checkpoint")
    return {f"{file}/{name}": x for file in TENSORS for name, x in files[file].items()}


def same(one, other):
    return set(one) == set(other) and all(torch.equal(x, other[n]) for n, x in one.items())


def rows(out):
    with open(out / "log.csv", newline="") as file:
        return [(int(r["step"]), r["name"], float(r["value"])) for r in csv.DictReader(file)]


def stop_at(step):
    def on_step(now, loss):
        if now == step:
            raise KeyboardInterrupt
    return on_step


# ---- nothing is lost ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def children(tmp_path_factory):
    """The runs of children.py: their folder, and how each child ended."""
    folder = tmp_path_factory.mktemp("children")
    said = subprocess.run([sys.executable, str(HERE / "children.py"), str(folder)], check=True, stdout=subprocess.PIPE,
                          text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}).stdout
    return folder, [line.split() for line in said.splitlines()]


@pytest.fixture
def straight(children):
    """The run that nobody killed."""
    folder, ends = children
    assert ends[0] == ["straight", "exit-0", "30"]
    return folder / "straight"


@pytest.mark.parametrize("name, kills", [("sudden", 4), ("calls", 25)])
def test_a_run_killed_over_and_over_ends_with_the_same_bits(children, straight, name, kills):
    folder, ends = children
    mine = [end[1:] for end in ends if end[0] == name]
    assert sum(end[0] == "killed" for end in mine) >= kills and mine[-1] == ["exit-0", "30"]
    assert {int(step) for _, step in mine} - {0, 30}                    # some were killed on the way
    assert same(tensors(straight), tensors(folder / name)) and rows(straight) == rows(folder / name)
    assert sorted(os.listdir(folder / name)) == ["checkpoint", "log.csv", "tensorboard"]


def test_a_half_written_checkpoint_is_passed_over(straight, toy, data, short, tmp_path):
    out = tmp_path / "run"
    train(toy(), data, short(), out=out, on_step=stop_at(11))
    (out / "checkpoint").rename(out / "checkpoint.old-1")               # as between the two renames
    (out / "checkpoint.partial-1").mkdir()
    (out / "checkpoint.partial-1" / "weights.safetensors").write_bytes(b"half")
    (out / "log.csv").write_text((out / "log.csv").read_text() + "999,1.0,loss,0.5\n12,0.1,lo")
    run = train(toy(), data, short(), out=out, resume=True)
    assert run.stopped == "done" and run.steps == 30
    assert same(tensors(straight), tensors(out)) and rows(straight) == rows(out)
    assert run.losses == [(s, v) for s, name, v in rows(straight) if name == "loss"]
    assert sorted(os.listdir(out)) == ["checkpoint", "log.csv", "tensorboard"]


def test_the_journal_drops_what_came_after_the_checkpoint(tmp_path):
    first = journal.Journal(tmp_path, 0)
    for step in (3, 6, 9):
        first.write(step, 1.0, {"loss": step / 10})
    first.close()
    journal.Journal(tmp_path, 6).close()
    assert rows(tmp_path) == [(3, "loss", 0.3), (6, "loss", 0.6)]
    journal.Journal(tmp_path, 0).close()
    assert rows(tmp_path) == []


def test_resuming_without_a_checkpoint_starts_and_says_so(toy, data, short, tmp_path, caplog):
    run = train(toy(), data, short(steps=2), out=tmp_path / "run", resume=True)
    assert run.steps == 2 and "starting from the beginning" in caplog.text
    again = train(toy(), data, short(steps=2), out=tmp_path / "run", resume=True)       # a finished run is only read
    assert again.steps == 2 and same(again.system.state_dict(), run.system.state_dict())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_the_run_goes_on_later(straight, toy, data, short, tmp_path, number):
    before = signal.getsignal(number)
    kill = lambda step, loss: step == 7 and os.kill(os.getpid(), number)  # noqa: E731
    run = train(toy(), data, short(), out=tmp_path / "run", on_step=kill)
    assert (run.stopped, run.steps) == ("interrupted", 7) and signal.getsignal(number) is before
    assert train(toy(), data, short(), out=tmp_path / "run", resume=True).stopped == "done"
    assert same(tensors(straight), tensors(tmp_path / "run")) and rows(straight) == rows(tmp_path / "run")


def test_a_second_signal_ends_it_at_once(toy, data, short, tmp_path):
    def twice(step, loss):
        if step == 7:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(toy(), data, short(), out=tmp_path / "run", on_step=twice)
    assert read_folder(tmp_path / "run" / "checkpoint")["state.json"]["step"] == 4


def test_a_run_in_another_thread_needs_no_signals(toy, data, short):
    runs = []
    thread = threading.Thread(target=lambda: runs.append(train(toy(), data, short(steps=2))))
    thread.start()
    thread.join()
    assert runs[0].steps == 2


# ---- what is refused ----------------------------------------------------------------------------------------------


def test_places_that_are_not_this_runs_are_left_alone(toy, data, short, tmp_path):
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "log.csv").write_text("my,own\n")
    (tmp_path / "file").write_text("x")
    train(toy(), data, short(steps=2), out=tmp_path / "run")
    before = tensors(tmp_path / "run")
    cases = [("papers", False, "other files"), ("papers", True, "other files"), ("file", True, "is a file"),
             ("run", False, "resume=True")]
    for name, resume, word in cases:
        with pytest.raises(BadArgument, match=word) as caught:
            train(toy(), data, short(), out=tmp_path / name, resume=resume)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "papers" / "log.csv").read_text() == "my,own\n" and same(before, tensors(tmp_path / "run"))
    with pytest.raises(BadArgument, match="folder"):
        train(toy(), data, short(), resume=True)


def test_another_run_is_not_gone_on_with(toy, data, short, tmp_path):
    out = tmp_path / "run"
    train(toy(), data, short(), out=out, on_step=stop_at(6))
    small = type(data)(**{**vars(data), "train": data.test})
    cases = [(toy(), data, short(lr=0.5, batch=4), r"batch=4 \(the run has 8\), lr=0.5 \(the run has 0.01\)"),
             (toy(), data, short(steps=40), "steps=40"), (toy(width=9), data, short(), "width is 9"),
             (toy(), small, short(), "other data"),
             (toy(), data, Training(**{**short().json(), "steps": None, "seconds": 5}), "steps=None")]
    for system, dataset, training, word in cases:
        with pytest.raises(BadArgument, match=word) as caught:
            train(system, dataset, training, out=out, resume=True)
        assert "\n" not in str(caught.value)
    assert train(toy(), data, short(log_every=1, checkpoint_every=50), out=out, resume=True).steps == 30


@pytest.mark.parametrize("name", [*TENSORS, "state.json", "recipe.json", "optimizer-main.json", "manifest.json"])
def test_a_harmed_checkpoint_is_named(toy, data, short, tmp_path, name):
    train(toy(), data, short(steps=2, validate_every=0), out=tmp_path / "run")
    file = tmp_path / "run" / "checkpoint" / name
    whole = file.read_bytes()
    for harmed in (whole[:-9], bytes([whole[0] ^ 4]) + whole[1:]):
        file.write_bytes(harmed)
        with pytest.raises(CheckpointError, match=name) as caught:
            train(toy(), data, short(steps=2), out=tmp_path / "run", resume=True)
        assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_shape_is_refused_in_a_line(toy, data, short, tmp_path):
    train(toy(), data, short(steps=2), out=tmp_path / "run")
    other = toy(width=9)
    other.recipe_json = toy().recipe_json
    with pytest.raises(CheckpointError, match="do not fit") as caught:
        train(other, data, short(steps=2), out=tmp_path / "run", resume=True)
    assert "\n" not in str(caught.value)


def test_a_full_disk_stops_with_a_line_and_the_last_checkpoint(straight, toy, data, short, tmp_path, monkeypatch):
    real, full = os.fsync, False

    def fsync(handle):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    def fill(step, loss):
        nonlocal full
        full = step > 5
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CheckpointError, match="disk is full"):
        train(toy(), data, short(), out=tmp_path / "run", on_step=fill)
    full = False
    assert sorted(os.listdir(tmp_path / "run")) == ["checkpoint", "log.csv", "tensorboard"]
    train(toy(), data, short(), out=tmp_path / "run", resume=True)
    assert same(tensors(straight), tensors(tmp_path / "run"))


def test_a_full_disk_under_the_log_is_one_line_too(toy, data, short, tmp_path, monkeypatch):
    def full(self, *args):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(journal.Journal, "write", full)
    with pytest.raises(TrainingError, match="disk is full at step 3"):
        train(toy(), data, short(), out=tmp_path / "run")


# ---- numbers that are not -----------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_with_everything_named(toy, data, short, tmp_path):
    system = toy(bad_at=11)
    with pytest.raises(TrainingError, match=r"step 11: the part 'main' of the loss of the player 'main' is "
                                             r"inf.*checkpoint \(step 8\).*lr \(now 0.01\)") as caught:
        train(system, data, short(validate_every=0), out=tmp_path / "run")
    assert "\n" not in str(caught.value) and str(tmp_path / "run" / "checkpoint") in str(caught.value)
    assert all(x.isfinite().all() for x in tensors(tmp_path / "run").values())
    assert all(p.isfinite().all() for p in system.parameters())
    with pytest.raises(TrainingError, match="step 1: .* no checkpoint yet"):
        train(toy(bad_at=1), data, short())


def test_a_gradient_that_is_not_finite_is_named_with_its_parameter(toy, data, short):
    system = toy()
    system.inner.bias.register_hook(lambda g: g * float("nan"))
    with pytest.raises(TrainingError, match=r"step 1: the gradient \(inner.bias\) of the player 'main' is nan"):
        train(system, data, short())


# ---- what it learns -----------------------------------------------------------------------------------------------


def plain_loop(system, data, training):
    """The trainer, written out by hand for one player."""
    average, params = Ema(system, training.ema), dict(system.named_parameters())
    matrices = [p for n, p in params.items() if n in ("inner.weight", "out.weight")]
    others = [p for n, p in params.items() if n not in ("inner.weight", "out.weight")]
    groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=training.lr, betas=training.betas)
    for step in range(training.steps):
        rng = Rng.seeded(training.seed).split("train").fold(step)
        losses, = system.loss(data.train.batch(order(len(data.train), training.seed, step, training.batch)), rng=rng)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(params.values(), training.clip)
        for group in optimizer.param_groups:
            group["lr"] = training.lr * training.factor(step, step / training.steps)
        optimizer.step()
        optimizer.zero_grad()
        average.update(step)
    return average.state(system)


def test_it_is_the_plain_loop(toy, data, short):
    expected = plain_loop(toy(dropout=0), data, short())
    run = train(toy(dropout=0), data, short())
    for name, x in run.system.state_dict().items():
        torch.testing.assert_close(x, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_accumulating_is_a_larger_batch(toy, data, short, weighted):
    make = lambda: toy(dropout=0, noise=0, weighted=weighted)  # noqa: E731
    one, many = train(make(), data, short(batch=12)), train(make(), data, short(batch=3, accumulate=4))
    for name, x in one.system.state_dict().items():
        torch.testing.assert_close(many.system.state_dict()[name], x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(many.losses), torch.tensor(one.losses), rtol=1e-4, atol=1e-4)


def test_the_pieces_of_a_step_draw_differently(toy, data, short, monkeypatch):
    drawn = []
    system = toy()
    real = system.loss
    system.loss = lambda batch, rng: (drawn.append(float(rng.uniform((1, 1)))), real(batch, rng=rng))[1]
    train(system, data, short(steps=3, batch=4, accumulate=2, validate_every=0))
    assert len(set(drawn)) == 6


def test_players_do_not_leak(duel, data, short):
    training = short(steps=1, warmup=0, clip=0.0, weight_decay=0.0, ema=0.0, betas=(0.0, 0.0), lrs={"critic": 1e-3})
    system, reference = duel(), duel()
    losses = reference.loss(data.train.batch(order(len(data.train), 0, 0, 8)), rng=None)
    expected, named = {}, dict(reference.named_parameters())
    for part, loss in (("maker", losses[0]), ("critic", losses[1])):
        names = [n for n in named if n.startswith(part)]
        gradients = torch.autograd.grad(loss.mean(), [named[n] for n in names], retain_graph=True)
        lr = 1e-2 if part == "maker" else 1e-3
        for n, g in zip(names, gradients, strict=True):     # AdamW without memory goes lr along g / (|g| + eps)
            expected[n] = named[n].detach() - lr * g / (g.abs() + 1e-8)
    train(system, data, training)
    for n, p in system.named_parameters():
        torch.testing.assert_close(p, expected[n], rtol=1e-5, atol=1e-6)


def test_two_losses_for_one_player_and_unknown_players_are_refused(toy, duel, data, short):
    judged = lambda x: (x[0], type(x[1])(x[1].parts, x[1].count, "judge"))  # noqa: E731
    for system, change in ((toy(), lambda x: (*x, *x)), (duel(), judged), (toy(), lambda x: ())):
        real = system.loss
        system.loss = lambda batch, rng, real=real, change=change: change(real(batch, rng=rng))
        with pytest.raises(TrainingError, match="one Losses a player"):
            train(system, data, short())


@pytest.mark.parametrize("precision, dtype", [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_it_learns_to_the_known_optimum_in_either_precision(toy, data, short, precision, dtype):
    dtypes = set()
    system = toy(dropout=0, noise=0.5, linear=True)
    system.out.register_forward_hook(lambda module, x, y: dtypes.add(y.dtype))
    training = short(steps=400, lr=0.03, batch=32, weight_decay=0.0, log_every=100, validate_every=0,
                     precision=precision)
    run = train(system, data, training)
    assert run.losses[-1][1] == pytest.approx(0.5 ** 2, rel=0.1)        # 12800 draws: their mean is good to 1%
    assert run.losses[0][1] > 1
    assert dtypes == {dtype} and all(p.dtype == torch.float32 for p in system.parameters())


def test_the_system_comes_back_averaged_as_the_folder_says(toy, data, short, tmp_path):
    system = toy().eval()
    run = train(system, data, short(), out=tmp_path / "run")
    files = read_folder(run.folder / "checkpoint")
    assert run.system is system and not system.training
    assert same(dict(system.state_dict()), files["ema.safetensors"])
    assert not same(files["ema.safetensors"], files["weights.safetensors"])
    assert files["state.json"]["reproducible"] and files["recipe.json"] == system.recipe_json()
    plain = train(toy(), data, short(ema=0.0), out=tmp_path / "plain")
    files = read_folder(plain.folder / "checkpoint")
    assert "ema.safetensors" not in files and same(dict(plain.system.state_dict()), files["weights.safetensors"])


def test_global_randomness_is_left_as_it_was_and_does_not_matter(toy, data, short):
    one = toy()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = train(one, data, short()).system
    assert torch.equal(before, torch.get_rng_state())
    other = toy()
    torch.manual_seed(2)
    assert same(one.state_dict(), train(other, data, short()).system.state_dict())
    assert not same(one.state_dict(), train(toy(), data, short(seed=1)).system.state_dict())


def test_validation_does_not_change_the_run_and_uses_the_average(toy, data, short, tmp_path):
    run = train(toy(), data, short(ema=0.5), out=tmp_path / "run")
    assert same(run.system.state_dict(), train(toy(), data, short(ema=0.5, validate_every=0)).system.state_dict())
    told = [(s, v) for s, name, v in rows(tmp_path / "run") if name == "val"]
    assert [s for s, _ in told] == [10, 20, 30]
    total = count = 0.0
    with torch.no_grad():
        for i in range(3):
            rng = Rng.seeded(0).split("validate").fold(i)
            loss, = run.system.eval().loss(data.test.batch(order(20, 0, i, 8)), rng=rng)
            total, count = total + float(sum(loss.parts.values())), count + float(loss.count)
    assert told[-1][1] == pytest.approx(total / count, rel=1e-5)


def test_the_clock_can_decide(toy, data, tmp_path):
    timed = Training(batch=8, seconds=0.3, lr=1e-2, log_every=1, validate_every=0)
    run = train(toy(), data, timed, out=tmp_path / "run")
    rates = [v for _, name, v in rows(tmp_path / "run") if name == "lr"]
    assert run.stopped == "time" and 0.3 <= run.seconds < 5 and run.steps > 3
    assert rates[-1] < 0.5 * max(rates)                         # the schedule follows the clock to its end
    state = read_folder(tmp_path / "run" / "checkpoint")["state.json"]
    assert not state["reproducible"] and "clock" in state["note"]
    longer = Training(batch=8, seconds=0.6, lr=1e-2)
    assert train(toy(), data, longer, out=tmp_path / "run", resume=True).steps > run.steps
    assert checkpoints.plan_of(tmp_path / "run") == (longer, "points")


# ---- what it tells ------------------------------------------------------------------------------------------------


def test_tensorboard_and_the_log_say_the_same(toy, data, short, tmp_path):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    train(toy(), data, short(), out=tmp_path / "run")
    event_file, = (tmp_path / "run" / "tensorboard").iterdir()
    loaded = EventFileLoader(str(event_file)).Load()
    events = sorted((e.step, v.tag, v.tensor.float_val[0]) for e in loaded for v in e.summary.value)
    told = sorted(rows(tmp_path / "run"))
    assert [e[:2] for e in events] == [r[:2] for r in told]
    assert [e[2] for e in events] == pytest.approx([r[2] for r in told], rel=1e-6)
    assert {name for _, name, _ in told} == {"loss", "main/main", "main/balance", "main/gradient", "lr", "val"}
    by_name = {name: v for s, name, v in told if s == 30}
    assert by_name["loss"] == pytest.approx(by_name["main/main"] + by_name["main/balance"])


def test_without_tensorboard_it_says_so_once_and_goes_on(toy, data, short, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train(toy(), data, short(steps=3), out=tmp_path / "run")
    assert caplog.text.count("tensorboard is not installed") == 1 and rows(tmp_path / "run")


def test_the_bar_is_for_people_who_wait(toy, data, short, capsys, monkeypatch):
    train(toy(), data, short(), progress=True)          # too short to need one
    train(toy(), data, short())                         # nobody looks on
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(journal, "_PATIENCE", 0.0)
    train(toy(), data, short(), progress=True, on_step=lambda s, loss: threading.Event().wait(0.02))
    out, err = capsys.readouterr()
    assert out == "" and "steps/s, loss" in err and "%|" in err and "<" in err
    train(toy(), data, short(), progress=False)
    assert capsys.readouterr() == ("", "")


# ---- several processes --------------------------------------------------------------------------------------------


def test_two_processes_share_a_batch_and_end_where_one_does(children, toy, data, short, tmp_path):
    folder, ends = children
    assert [end for end in ends if end[0] == "team"] == [["team", "exit-0", "30"]] * 2
    train(toy(dropout=0, noise=0, weighted=True), data, short(batch=9), out=tmp_path / "one")
    one, two = tensors(tmp_path / "one"), tensors(folder / "team")
    for name, x in one.items():
        if not name.endswith("/seen"):                  # a count of the rows that this process saw
            torch.testing.assert_close(two[name], x, rtol=1e-4, atol=1e-5)


def test_processes_that_do_not_find_each_other_are_refused(toy, data, short, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="ACCELERATE_USE_CPU=true"):
        train(toy(), data, short())


def test_two_processes_on_the_command_line(tmp_path):
    """The same command under a launcher (accelerate's own starts torch's on GPUs, and one process on a CPU without MPI): one run, one line about it."""
    small = ["--set", "network.width=16", "--set", "network.backbone.depth=1", "--set", "network.backbone.block.mixer.heads=2"]
    command = ["train", "gpt", "--data", "stdlib", "--steps", "3", "--batch", "8", "--out", str(tmp_path / "r"), *small]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "omniform", "-q"]
    said = subprocess.run([*launch, *command], capture_output=True, text=True, timeout=300,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"})
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.count("3 steps in") == 1 and [r for r in rows(tmp_path / "r") if r[1] == "loss"][-1][0] == 3
    assert sorted(os.listdir(tmp_path / "r")) == ["checkpoint", "log.csv", "run.json", "tensorboard"]
