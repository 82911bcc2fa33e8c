"""The house: who may import whom, what is public, what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import patchvlad

PACKAGE = Path(patchvlad.__file__).parent
ROOMS = ("model", "features", "search", "evaluate", "train")  # each may import itself and those before it


def imports(path: Path) -> set[str]:
    """Names of the package's top-level modules and folders that a file imports, anywhere in it."""
    folder = path.parent.relative_to(PACKAGE).parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = folder[: len(folder) - node.level + 1]
            target = (*base, *(node.module.split(".") if node.module else ()))
            found |= {target[0]} if target else {alias.name for alias in node.names}
    return found


def test_imports_point_against_the_flow_of_data_only() -> None:
    for number, room in enumerate(ROOMS):
        allowed = {*ROOMS[: number + 1], "errors", "arrays", "atomic", "__version__"}
        for path in (PACKAGE / room).glob("*.py"):
            assert imports(path) <= allowed, f"{path.relative_to(PACKAGE)} imports {imports(path) - allowed}"


def test_only_the_command_line_prints_or_exits() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.stem in ("cli", "reference_cli", "train_cli", "evaluate_cli", "datasets_cli", "__main__"):
            continue
        called = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"print", "exit", "input"}, path


def test_modules_open_with_a_sentence_and_stay_short() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
        assert len(text.splitlines()) <= 370, f"{path} is too long"
        assert not {"utils", "helpers", "common", "tools"} & set(path.stem.split("_")), path


def test_public_names_are_these() -> None:
    assert patchvlad.__all__ == [
        "Descriptors",
        "FeatureStore",
        "GroundTruth",
        "ImageList",
        "Match",
        "PatchNetVLAD",
        "PatchvladError",
        "Ranking",
        "extract",
        "fit",
        "load_model",
        "make_ground_truth",
        "match_ransac",
        "match_rapid",
        "match_voting",
        "read_global_descriptors",
        "read_image",
        "recall",
        "rerank",
        "retrieve",
        "save_model",
    ]
    for name in patchvlad.__all__:
        assert getattr(patchvlad, name).__doc__, name
        assert name in dir(patchvlad)


def test_import_is_free_and_prints_nothing() -> None:
    code = "import sys, patchvlad; print([m for m in ('torch', 'numpy', 'cv2', 'faiss', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_unknown_names_are_attribute_errors() -> None:
    try:
        patchvlad.nonsense  # noqa: B018
    except AttributeError as error:
        assert "nonsense" in str(error)
    else:
        raise AssertionError("an unknown name was found")
