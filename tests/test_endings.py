"""How commands end: readers that go away, signals at any moment, and what is said and left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from test_cli import world  # noqa: F401  (the photos, model and stores of the command line's tests)
from tiny import photo, write_config, write_model, write_photos

from patchvlad import __version__
from patchvlad.commands import main as main_module
from patchvlad.commands.signals import caught_signals
from patchvlad.features.store import FeatureStore

HERE = str(Path(__file__).parent)
# A program with the tiny network among the known backbones.
PROGRAM = f"""
import sys
sys.path.insert(0, {HERE!r})
from tiny import TinyBackbone
from patchvlad.model.registry import BACKBONES
BACKBONES._things["tiny"] = TinyBackbone
from patchvlad.commands.start import start
sys.exit(start(sys.argv.pop(1)))
"""


def program(*words: object, module: str = "main", **more) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | more
    return subprocess.Popen([sys.executable, "-c", PROGRAM, module, *map(str, words)], **pipes)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with 24 photos, a config, a model and a truth; it takes a second to describe them."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    Path("many").mkdir()
    for number in range(24):
        Image.fromarray(photo(number)).save(f"many/{number}.png")
    write_model(Path("tiny.safetensors"))
    write_config(Path("tiny.ini"), "model = tiny.safetensors")
    return tmp_path


# --- readers that go away -------------------------------------------------------------------------------------------


def unread(*words: object, module: str = "main", lines: int = 0) -> tuple[int, str]:
    """Runs a program whose output is read so far and no further -> exit code, standard error."""
    with program(*words, module=module) as process:
        assert process.stdout is not None and process.stderr is not None
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    return process.returncode, err


def test_who_reads_two_lines_gets_all_files(world: Path, run) -> None:  # noqa: F811
    truth = ["--ground-truth", world / "photos/gt.csv"]
    words = ["match", "--queries", world / "queries", "--database", world / "database", "--out", "results", *truth]
    assert unread(*words, "--config", world / "tiny.ini") == (0, "")
    assert {"recalls.txt", "results.json"} <= set(os.listdir("results"))
    words = ["evaluate", "results", *truth, "--ks", "1,2", "--json", "n.json", "--figure", "f.png"]
    assert unread(*words, lines=2) == (0, "")
    assert json.loads(Path("n.json").read_text())
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("words", [["--help"], ["match", "--help"], ["datasets"], ["--version", "--json"]])
def test_who_reads_nothing_hears_nothing(words: list[str]) -> None:
    assert unread(*words) == (0, "")


def test_numbers_are_written_before_they_are_told(world: Path, run, monkeypatch) -> None:  # noqa: F811
    truth = ["--ground-truth", world / "photos/gt.csv"]
    words = ["match", "--queries", world / "queries", "--database", world / "database", "--out", "results", *truth]
    assert run(*words, "--config", world / "tiny.ini")[0] == 0

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("patchvlad.evaluate.report.as_text", full)
    words = ["evaluate", "results", *truth, "--json", "n.json", "--figure", "f.png"]
    code, _, err = run(*words)
    assert code == 1 and err.splitlines()[-1] == "patchvlad: error: input or output: No space left on device"
    assert Path("n.json").is_file() and Path("f.png").is_file()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_text_that_cannot_be_written_is_an_error(place: Path) -> None:
    with open("/dev/full", "w") as full, program("list", "photos", stdout=full) as process:
        _, err = process.communicate()
    assert (process.returncode, err) == (1, "patchvlad: error: input or output: No space left on device\n")


# --- targets --------------------------------------------------------------------------------------------------------

TARGETS = {
    "extract": "extract photos/queries --config tiny.ini --out FILE/x",
    "match": "match --queries photos/queries --database photos/database --config tiny.ini --out FILE/x",
    "compare": "compare photos/queries/a.png photos/queries/b.png --config tiny.ini --plot FILE/x.png",
    "fit": "fit photos --out FILE/x.safetensors",
    "train": "train places.csv --model tiny.safetensors --out FILE/x",
    "add-pca": "add-pca tiny.safetensors photos/database --components 4 --out FILE/x.safetensors",
    "ground-truth": "ground-truth --queries photos/queries --database photos/database --out FILE/x.csv",
    "list": "list photos --out FILE/x.txt",
    "check-dataset": "check-dataset pitts30k photos --write FILE/x",
    "evaluate --json": "evaluate results --ground-truth photos/gt.csv --json FILE/x.json",
    "evaluate --figure": "evaluate results --ground-truth photos/gt.csv --figure FILE/x.png",
    "export": "export results --format hloc --out FILE/x.txt",
    "demo": "demo --out FILE/x",
}


@pytest.mark.parametrize("command", TARGETS)
def test_a_target_that_cannot_be_is_told_before_the_work(command: str, world: Path, run, monkeypatch) -> None:  # noqa: F811
    Path("FILE").write_text("no folder")
    words = [word if not word.startswith(("photos", "tiny")) else world / word for word in TARGETS[command].split()]

    def work(*_: object, **__: object) -> None:
        raise AssertionError("it has begun")

    for name in ("model.checkpoints.load_model", "images.pixels.read_image", "commands.sample_photos.sample_photos"):
        monkeypatch.setattr(f"patchvlad.{name}", work)
    for name in ("images.lists.ImageList.read", "results.predictions.read_predictions"):
        monkeypatch.setattr(f"patchvlad.{name}", work)
    code, out, err = run(*words)
    assert (code, out) == (1, ""), err
    assert err.startswith("patchvlad: error: FILE/x")
    assert err.endswith("cannot be written: a file stands where a folder should be: choose another place\n")
    assert os.listdir() == ["FILE"]


def test_every_option_that_names_what_is_written_is_checked() -> None:
    """Options called so are declared as outputs, in all commands, the reference's too."""
    said = {"--out", "--write", "--json", "--figure", "--plot", "--video", "--save_path", "--cache_path"}
    said |= {"--output_features_dir", "--result_save_folder", "--plot_save_path"}
    for name in main_module.COMMANDS:
        check_declared(name, said)


def check_declared(name: str, said: set[str]) -> None:
    parser = main_module.build_parser(name)._subparsers._group_actions[0].choices[name]  # type: ignore[union-attr]
    declared = {option for option, _ in parser.get_default("outputs") or ()}
    found = {action.dest for action in parser._actions if said & set(action.option_strings)}
    assert found == declared, name


# --- signals --------------------------------------------------------------------------------------------------------

ENDS = {signal.SIGINT: (130, "\npatchvlad: interrupted; "), signal.SIGTERM: (143, "patchvlad: stopped; ")}


@pytest.mark.parametrize("number", ENDS)
def test_a_signal_ends_in_one_line_and_the_same_command_goes_on(number: signal.Signals, place: Path, run) -> None:
    words = ["extract", "many", "--config", "tiny.ini", "--batch", "1", "--out"]
    assert run(*words, "whole")[0] == 0
    with program(*words, "store") as process:
        until(lambda: Path("store/manifest.json").is_file())
        process.send_signal(number)
        process.send_signal(number)  # timeout sends it to the process and to its group
        out, err = process.communicate()
    code, begins = ENDS[number]
    assert (process.returncode, out) == (code, "")
    assert err == f"{begins}what is finished is kept: the same command, or --resume, goes on there\n"
    assert run(*words, "store")[0] == 0
    assert sorted(os.listdir("store")) == sorted(os.listdir("whole"))
    for name in os.listdir("whole"):
        assert Path("store", name).read_bytes() == Path("whole", name).read_bytes(), name
    assert len(FeatureStore("store")) == 24


def until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


# Sends itself a signal when the n-th module is imported, n from 0 on, before anything is caught and while it is.
AT_IMPORT = """
import os, signal, sys
number, left = int(sys.argv[1]), int(sys.argv[2])
sys.argv[1:3] = []
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        global left
        left -= 1
        if left == -1:
            os.kill(os.getpid(), number)
from patchvlad.commands import start
sys.meta_path.insert(0, Finder)
code = start.start(sys.argv.pop(1))
sys.exit(code if left < 0 else 99)
"""


def at_import(number: int, left: int, module: str, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-c", AT_IMPORT, str(number), str(left), module, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize("module", ["main", "reference.match_realtime"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_imports_leaves_no_traceback(number: int, module: str, place: Path) -> None:
    words = {
        "main": ["extract", "many", "--config", "tiny.ini", "--out", "store"],
        "reference.match_realtime": ["--source", "many", "--preset", "lite", "--no-window", "--video", "v.mp4"],
    }[module]
    for left in (0, 5, 40, 120, 300, 800):
        code, err = at_import(number, left, module, *words)
        assert "Traceback" not in err and "ignored" not in err, (left, err)
        assert code in (-number, 128 + number), (left, code, err)
        assert err.count("\n") <= 2, (left, err)


def test_what_comes_before_signals_are_minded_is_short() -> None:
    code = "import sys; before = {*sys.modules}; import patchvlad.commands.start; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=Path(HERE).parent)
    assert {*done.stdout.split()} == {"patchvlad", "patchvlad.commands", "patchvlad.commands.start"}, done.stderr


def test_an_interruption_where_python_cannot_raise_comes_again() -> None:
    class Nasty:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), caught_signals() as caught:
        nasty = Nasty()
        del nasty
        assert caught.number == signal.SIGINT
        time.sleep(5)
        raise AssertionError("it was lost")


def test_an_interruption_that_a_library_makes_an_error_of_is_one(run, monkeypatch) -> None:
    def library(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error

    monkeypatch.setattr("patchvlad.images.lists.ImageList.read", library)
    assert run("list", ".") == (
        143,
        "",
        "patchvlad: stopped; what is finished is kept: the same command, or --resume, goes on there\n",
    )
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_is_ignored_stays_so(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with caught_signals():
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


# --- versions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--version", "--json"], ["--json", "--version"]])
def test_versions_of_everything_as_json(words: list[str], run) -> None:
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said["patchvlad"] == __version__
    assert said["python"] == ".".join(map(str, sys.version_info[:3]))
    import numpy

    assert said["dependencies"]["numpy"] == numpy.__version__
    assert {"torch", "safetensors", "faiss-cpu"} <= set(said["dependencies"])
    assert "pytest" in said["extras"]["dev"]
