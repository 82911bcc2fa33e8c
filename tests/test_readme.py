"""The README is true: its snippet and its commands run as they stand, and its links lead somewhere."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchvlad.commands.main import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("patchvlad")]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder laid out as the README's examples say."""
    generator = np.random.default_rng(0)
    scenes = [generator.integers(0, 255, (12, 16, 3), dtype=np.uint8) for _ in range(4)]

    def save(scene: int, name: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        quality = 90 if "queries" in name else 75  # else they were the database's photos, which are no answers
        Image.fromarray(scenes[scene]).resize((160, 120), Image.Resampling.BICUBIC).save(path, quality=quality)

    for i in range(4):
        save(i, f"photos/database/{i}.jpg")
    for i in range(2):
        save(i, f"photos/queries/{i}.jpg")
        save(i, f"{'ab'[i]}.jpg")
    lines = ["query,positives", *(f"queries/{i}.jpg,database/{i}.jpg" for i in range(2))]
    (tmp_path / "photos" / "gt.csv").write_text("\n".join(lines))
    rows = [f"database/{i}.jpg,{i}" for i in range(4)] + [f"queries/{i}.jpg,{i}" for i in range(2)]
    (tmp_path / "photos" / "places.csv").write_text("\n".join(["image,place", *rows]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_snippet_runs(photos: Path, capsys: pytest.CaptureFixture) -> None:
    (snippet,) = blocks("python")
    exec(compile(snippet, "README.md", "exec"), {})
    assert "R@1 100.0" in capsys.readouterr().out


def test_the_commands_run_in_their_order(photos: Path, capsys: pytest.CaptureFixture) -> None:
    assert len(commands()) >= 7
    for command in commands():
        arguments = shlex.split(command)[1:]
        if arguments[0] in ("fit", "add-pca"):  # four photos have too little to say for 512 components
            arguments[arguments.index("--components") + 1] = "32"
        if arguments[0] == "train":  # nor do they need thirty epochs
            arguments += ["--epochs", "2"]
        assert main(arguments) == 0, (command, capsys.readouterr().err)
    assert (photos / "results" / "recalls.txt").read_text().startswith("Recall NetVLAD@1: 1.0000")
    assert (photos / "matches.png").stat().st_size > 10_000


def test_the_reference_commands_have_the_flags_that_the_table_names() -> None:
    from patchvlad.commands.reference import feature_extract, feature_match, match_two

    functions = {
        "patchnetvlad-feature-extract": feature_extract.main,
        "patchnetvlad-feature-match": feature_match.main,
        "patchnetvlad-match-two": match_two.main,
    }
    for name, function in functions.items():
        (line,) = [line for line in README.splitlines() if line.startswith(f"| `{name}")]
        theirs, ours = re.findall(r"`([^`]+)`", line)[:2]
        with pytest.raises(SystemExit) as stop:  # --help is parsed after all flags before it were understood
            function([*shlex.split(theirs)[1:], "--help"])
        assert stop.value.code == 0
        with pytest.raises(SystemExit) as stop:
            main([*shlex.split(ours)[1:], "--help"])
        assert stop.value.code == 0


def test_links_to_files_lead_somewhere() -> None:
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / path).exists(), path
