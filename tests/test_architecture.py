"""The house: its rooms, who may import whom, how long things may be, what is public, what an import costs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import patchvlad

PACKAGE = Path(patchvlad.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# The rooms, in the order in which data flows: each may import itself and those above it. docs/design.md says in a line
# what each is for.
ROOMS = (
    "errors",
    "registry",
    "files",
    "images",
    "model",
    "features",
    "places",
    "search",
    "results",
    "evaluate",
    "train",
    "commands",
)
LONGEST_MODULE, LONGEST_FUNCTION, MOST_PARAMETERS = 370, 60, 6
TARGET = re.compile(r"patchvlad((?:\.\w+)+):\w+")  # in a registry: what is imported when it is asked for


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_of(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def room_of(module: tuple[str, ...]) -> str:
    return module[0] if module else "patchvlad"


MODULES = {module_of(path): path for path in FILES}


def imported(path: Path) -> set[tuple[str, ...]]:
    """Modules of the package that a file imports, anywhere in it."""
    folder = path.parent.relative_to(PACKAGE).parts
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "patchvlad"):
            base = folder[: len(folder) - node.level + 1] if node.level else ()
            named = (node.module or "").removeprefix("patchvlad").strip(".")
            target = (*base, *(named.split(".") if named else ()))
            for alias in node.names:  # a module of that name, or something in the module named
                found.add((*target, alias.name) if (*target, alias.name) in MODULES else target)
        elif isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")[1:]) for alias in node.names if alias.name.startswith("patchvlad.")}
    return found


def registered(path: Path) -> set[tuple[str, ...]]:
    """Modules that a file names as texts, for a registry to import when they are asked for."""
    return {
        tuple(match[1].strip(".").split("."))
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := TARGET.fullmatch(node.value))
    }


def test_the_root_holds_rooms_and_nothing_else() -> None:
    there = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert there == {"__init__.py", "__main__.py", "errors.py", "py.typed", *ROOMS} - {"errors"}


def test_rooms_import_those_above_them_only() -> None:
    for path in FILES:
        room = room_of(module_of(path))
        if room in ("patchvlad", "__main__"):  # the public names, and python -m
            continue
        allowed = {*ROOMS[: ROOMS.index(room) + 1]}
        above = {room_of(module) for module in imported(path) | registered(path) if module}
        assert above <= allowed, f"{path.relative_to(PACKAGE)} imports {above - allowed}"
        for module in registered(path):
            assert module in MODULES, f"{path.relative_to(PACKAGE)} names {'.'.join(module)}, which is not there"


def test_no_file_imports_itself_by_way_of_others() -> None:
    arrows = {module: imported(path) & MODULES.keys() - {()} for module, path in MODULES.items() if module}

    def walk(module: tuple[str, ...], way: tuple[tuple[str, ...], ...]) -> None:
        assert module not in way, "a circle: " + " -> ".join(".".join(step) for step in (*way, module))
        if module not in seen:
            for further in arrows[module]:
                walk(further, (*way, module))
            seen.add(module)

    seen: set[tuple[str, ...]] = set()
    for module in arrows:
        walk(module, ())


def test_only_commands_know_argparse_print_and_change_the_process() -> None:
    process = {"set_num_threads", "mallopt", "basicConfig", "setLevel", "addHandler", "chdir", "signal"}
    for path in FILES:
        if room_of(module_of(path)) in ("commands", "__main__"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert "argparse" not in names, path
            elif isinstance(node, ast.Call):
                if isinstance(node.func, ast.Name):
                    assert node.func.id not in ("print", "exit", "input"), path
                called = getattr(node.func, "id", getattr(node.func, "attr", ""))
                assert called not in process, f"{path}: {called} changes the process"


def functions(path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Every function of a file, and the docstring that explains its parameters."""
    for parent in ast.walk(tree_of(path)):
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                owner = parent if isinstance(parent, ast.ClassDef) and node.name == "__init__" else node
                yield node, ast.get_docstring(owner) or ""


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[list[str], list[str]]:
    """Names of parameters without and with a default."""
    said = node.args
    positional = [argument.arg for argument in (*said.posonlyargs, *said.args)]
    defaults = len(said.defaults)
    optional = positional[len(positional) - defaults :] if defaults else []
    optional += [a.arg for a, default in zip(said.kwonlyargs, said.kw_defaults, strict=True) if default is not None]
    every = [*positional, *(argument.arg for argument in said.kwonlyargs)]
    every += [argument.arg for argument in (said.vararg, said.kwarg) if argument is not None]
    return [name for name in every if name not in (*optional, "self", "cls")], optional


def test_functions_are_short_and_take_few_parameters() -> None:
    for path in FILES:
        for node, said in functions(path):
            where = f"{path.relative_to(PACKAGE)}: {node.name}"
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, f"{where} is too long"
            required, optional = parameters(node)
            if len(required) + len(optional) <= MOST_PARAMETERS:
                continue
            # A public function of the library may have more keywords, each with a default and a line in the docstring.
            public = (not node.name.startswith("_") or node.name == "__init__") and room_of(
                module_of(path)
            ) != "commands"
            assert public and len(required) <= MOST_PARAMETERS, f"{where} has too many parameters"
            for name in optional:
                assert re.search(rf"^\s*(\w+, )*{name}(, \w+)*: ", said, re.MULTILINE), (
                    f"{where} does not explain {name}"
                )


def test_modules_open_with_a_sentence_and_stay_short() -> None:
    for path in FILES:
        assert ast.get_docstring(tree_of(path)), f"{path} has no docstring"
        assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE, f"{path} is too long"
        assert not {"utils", "helpers", "common", "tools"} & set(path.stem.split("_")), path


def test_the_notes_list_the_same_rooms() -> None:
    notes = (Path(__file__).parents[1] / "docs" / "design.md").read_text(encoding="utf-8")
    table = notes[notes.index("## Rooms") :].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)(?:/|\.py)` \|", table, re.MULTILINE) == list(ROOMS)
    for name, target in re.findall(r"\[`?([^\]`]+)`?\]\((\.\./patchvlad/[^)#]+)\)", notes):
        assert (Path(__file__).parents[1] / "docs" / target).resolve().exists(), f"{name}: {target}"


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


@pytest.mark.parametrize("registry", ["model", "features", "places", "search", "results"])
def test_registries_of_names_import_nothing(registry: str) -> None:
    code = f"import sys, patchvlad.{registry}.registry; print(*(m for m in sys.modules if m.startswith('patchvlad')))"
    code += "; print([m for m in ('torch', 'numpy', 'cv2', 'PIL', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    rest = {"patchvlad", "patchvlad.errors", "patchvlad.registry", f"patchvlad.{registry}"}
    assert set(modules.split()) <= {*rest, f"patchvlad.{registry}.registry"}


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        patchvlad.nonsense  # noqa: B018
