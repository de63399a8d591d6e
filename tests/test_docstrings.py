"""Docstrings read alike: entries begin with a capital letter and end with a full stop; examples are true."""

import ast
import doctest
import inspect
import re
import textwrap
from importlib import import_module
from pathlib import Path

import undertow

SOURCE = Path(undertow.__file__).parent
# What is spelled in small letters wherever it stands.
SMALL = re.compile(r"(sha256|mIoU|u?int\d+|b?float\d+)\b")
ENTRY = re.compile(r"^    (\*{0,2}\w[\w ,*`]*): (.*)$")


def entries(docstring: str):
    """Yields the text of each entry of the sections Args and Attributes, its lines joined."""
    section, name, lines = "", "", []
    for line in [*docstring.expandtabs().splitlines(), "End:"]:
        starts = ENTRY.match(line)
        if section and (starts or re.match(r"\S", line)) and name:
            yield name, " ".join(lines)
            name, lines = "", []
        if re.match(r"\S", line):
            section = line if line in ("Args:", "Attributes:") else ""
        elif section and starts:
            name, lines = starts[1], [starts[2]]
        elif section and line.strip():
            lines.append(line.strip())


def test_entries_are_sentences():
    stray = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
                for name, text in entries(ast.get_docstring(node) or ""):
                    if (text[0].islower() and not SMALL.match(text)) or not text.endswith((".", "?", ":")):
                        stray.append(f"{path.relative_to(SOURCE)}: {name}: {text}")
    assert not stray, "\n".join(stray)


def described(function) -> set[str]:
    """Returns the parameters that the section Args of a function describes."""
    names = (name for name, _ in entries(inspect.getdoc(function).replace("Attributes:", "Other:")))
    return {each.strip("*` ") for name in names for each in name.split(",")}


def test_every_name_has_a_docstring_and_main_functions_describe_their_parameters():
    bare, count = [], 0
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        holders = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        parts = [each for node in (tree, *holders) for each in node.body]
        parts = [each for each in parts if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
        public = [each for each in parts if not each.name.startswith("_")]
        count += len(public)
        bare += [f"{path.relative_to(SOURCE)}: {each.name}" for each in public if not ast.get_docstring(each)]
    assert count > 2000 and not bare, "\n".join(bare)
    for name in undertow.__all__:
        found = getattr(undertow, name)
        if inspect.isfunction(found) and len(inspect.signature(found).parameters) > 1:
            assert described(found) >= set(inspect.signature(found).parameters), name


def test_examples_are_true():
    shown = [path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
    examples = 0
    for path in shown:
        module = import_module(".".join(("undertow", *path.relative_to(SOURCE).with_suffix("").parts)))
        failed, tried = doctest.testmod(module)
        examples += tried
        assert tried and not failed, path
    assert examples >= 12


def test_every_public_name_is_described_and_what_is_called_is_shown():
    results = {"ParseResult", "Parser", "PointTracker"}
    for name in undertow.__all__:
        found = getattr(undertow, name)
        text = inspect.getdoc(found) or ""
        assert text, name
        if (isinstance(found, type) and issubclass(found, Exception)) or name in results:
            continue
        example = re.search(r"\n\n((?: {4}.*\n?)+)", text)
        assert example or ">>> " in text, f"{name} has no example"
        if example:
            calls = [node for node in ast.walk(ast.parse(textwrap.dedent(example[1]))) if isinstance(node, ast.Call)]
            for call in calls:
                called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                if called in undertow.__all__:
                    given = {word.arg: None for word in call.keywords}
                    inspect.signature(getattr(undertow, called)).bind(*call.args, **given)
