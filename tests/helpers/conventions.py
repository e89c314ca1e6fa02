"""Checkers that read Python source, for test_conventions.py."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from numpydoc.hooks.validate_docstrings import DocstringVisitor

# Methods whose meaning and signature a framework lays down.
FRAMEWORK_METHODS = {"build", "call", "compute_output_shape", "compute_output_spec", "forward", "get_config"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
UNSAFE_KEYWORDS = {("allow_pickle", True), ("weights_only", False), ("safe_mode", False)}
IMPORTING_CALLS = {"import_module", "__import__", "importorskip"}
parse = functools.cache(ast.parse)  # every checker reads every file
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def imported_modules(text: str) -> set[str]:
    """Top-level names of everything a file imports, anywhere in it."""
    return {name.split(".")[0] for _, name in _imports(parse(text))}


def import_problems(text: str, forbidden: set[str]) -> list[str]:
    """Imports of forbidden top-level names."""
    return [f"line {line}: imports {n}" for line, n in _imports(parse(text)) if n.split(".")[0] in forbidden]


def unsafe_loading(text: str) -> list[str]:
    """Imports, calls and arguments with which reading a file can run what the file holds."""
    tree = parse(text)
    found = [f"line {line}: imports {n}" for line, n in _imports(tree) if n.split(".")[0] in UNSAFE_MODULES]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if ast.unparse(node.func) in UNSAFE_CALLS:
            found.append(f"line {node.lineno}: {ast.unparse(node.func)}")
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if (keyword.arg, value) in UNSAFE_KEYWORDS:
                found.append(f"line {node.lineno}: {keyword.arg}={value}")
    return found


def _imports(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.append((node.lineno, node.module))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in IMPORTING_CALLS:
            found += [(node.lineno, a.value) for a in node.args[:1] if isinstance(a, ast.Constant)]
    return found


def exports(path: Path) -> dict[str, str]:
    """Names in the ``__all__`` of a package's ``__init__.py``, with the module that each comes from."""
    tree = parse(path.read_text(encoding="utf-8"))
    sources = {
        a.asname or a.name: n.module for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names
    }
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            return {name: sources.get(name) or path.parent.name for name in names}
    return {}


def docstring_problems(path: Path, checks: set[str], names: set[str] | None = None) -> list[str]:
    """What numpydoc has to say on the public functions, classes and methods of a file, or on those named."""
    visitor = _PublicDocstrings(str(path), {"checks": checks, "exclude": None, "overrides": None})
    visitor.names = names
    visitor.visit(parse(path.read_text(encoding="utf-8")))
    return [
        f"line {where.rsplit(':', 1)[1]}: {name} {code} {text}"
        for where, name, code, text in visitor.findings
    ]


class _PublicDocstrings(DocstringVisitor):
    """numpydoc's own visitor, for public names, that knows properties, generators and dataclasses."""

    names: set[str] | None = None

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, (ast.ClassDef, *FUNCTIONS)):
            if self.names is not None and len(self.stack) == 1 and node.name not in self.names:
                return
            nested = isinstance(self.stack[-1], FUNCTIONS)
            if (
                nested
                or node.name.startswith("_")
                or node.name in FRAMEWORK_METHODS
                or _decorated(node, "overload")
            ):
                return
        super().visit(node)

    def _get_numpydoc_issues(self, node: ast.AST) -> None:
        before = len(self.findings)
        super()._get_numpydoc_issues(node)
        owner = next((n for n in self.stack if isinstance(n, ast.ClassDef) and n is not node), None)
        shared = _documented(owner)
        new = self.findings[before:]
        if shared and isinstance(node, FUNCTIONS):
            # arguments that methods share are documented once, at their class; one line is enough then
            names = {a.arg for a in [*node.args.args, *node.args.kwonlyargs]} - {"self", "cls"}
            absent = {name for f in new if f[2] == "PR01" for name in re.findall(r"'(\w+)'", f[3])}
            needless = ({"PR01"} if absent <= shared else set()) | ({"RT01"} if names <= shared else set())
            new = [finding for finding in new if finding[2] not in needless]
        self.findings[before:] = new
        doc = ast.get_docstring(node) or ""
        if isinstance(node, FUNCTIONS) and doc and "Yields\n---" not in doc and _yields(node):
            self._add(node, "YD01", "No Yields section found")
        if _decorated(node, "dataclass") and doc:
            documented = _documented(node)
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and not _carries_help(field.value):
                    name = ast.unparse(field.target)
                    if not name.startswith("_") and name not in documented:
                        self._add(field, "PR01", f"field {name} is not documented")

    def _ignore_issue(self, node: ast.AST, check: str) -> bool:
        # A property is described like a value. A class without __init__ inherits one or is a dataclass, whose
        # fields are checked above, as is YD01: numpydoc sees only the yields at the top of a function.
        if check == "RT01" and _decorated(node, "property", "cached_property"):
            return True
        if check == "PR02" and isinstance(node, ast.ClassDef):
            return not any(getattr(child, "name", "") == "__init__" for child in node.body)
        return check == "YD01" or super()._ignore_issue(node, check)

    def _add(self, node: ast.AST, code: str, text: str) -> None:
        self.findings.append([f"{self.filepath}:{node.lineno}", self.node_name, code, text])


def _documented(node: ast.AST | None) -> set[str]:
    """Names that a docstring describes."""
    doc = (ast.get_docstring(node) if node else "") or ""
    return {name for names in re.findall(r"^(\w+(?:, \w+)*) : ", doc, re.M) for name in names.split(", ")}


def _decorated(node: ast.AST, *names: str) -> bool:
    decorators = [d.func if isinstance(d, ast.Call) else d for d in getattr(node, "decorator_list", [])]
    return any(ast.unparse(d).split(".")[-1] in names for d in decorators)


def _carries_help(default: ast.AST | None) -> bool:
    """Whether a field says in its default what it is for, as the options of a command line do."""
    if not isinstance(default, ast.Call):
        return False
    said = [ast.unparse(argument).startswith(("'", '"', "f'", 'f"')) for argument in default.args[1:]]
    return any(said) or "'help'" in ast.unparse(default)


def _yields(function: ast.AST) -> bool:
    """Whether the function itself, not one inside it, is a generator."""
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, (ast.ClassDef, ast.Lambda, *FUNCTIONS)):
            waiting += ast.iter_child_nodes(node)
    return False


def code_lines(text: str) -> set[int]:
    """Numbers of the lines of code: those that are not blank, a comment or a docstring."""
    kinds = (ast.Module, ast.ClassDef, *FUNCTIONS)
    nodes = [node for node in ast.walk(parse(text)) if isinstance(node, kinds) and ast.get_docstring(node)]
    docstrings = {n for d in nodes for n in range(d.body[0].lineno, (d.body[0].end_lineno or 0) + 1)}
    lines = enumerate(text.splitlines(), start=1)
    return {n for n, line in lines if line.strip() and not line.strip().startswith("#")} - docstrings


def long_functions(text: str, limit: int = 60) -> list[str]:
    """Functions with more lines of code than the limit."""
    code = code_lines(text)
    functions = [node for node in ast.walk(parse(text)) if isinstance(node, FUNCTIONS)]
    lengths = {f.name: len(code & set(range(f.lineno, (f.end_lineno or 0) + 1))) for f in functions}
    return [f"{name}: {length} lines of code" for name, length in lengths.items() if length > limit]


def import_cycles(sources: dict[str, str]) -> list[list[str]]:
    """Modules that import each other while they are imported; ``sources``: module -> its text."""
    imports = {name: _imported_at_once(parse(text), sources) for name, text in sources.items()}
    cycles, finished = [], set()

    def follow(name: str, path: list[str]) -> None:
        if name in path:
            cycles.append([*path[path.index(name) :], name])
        elif name not in finished:
            for other in sorted(imports[name]):
                follow(other, [*path, name])
            finished.add(name)

    for name in sorted(imports):
        follow(name, [])
    return cycles


def _imported_at_once(tree: ast.Module, known: dict[str, str]) -> set[str]:
    """Modules of ours that a file imports at its top; ``from package import module`` imports the module."""
    found, waiting = set(), list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in inside}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif isinstance(node, ast.If | ast.Try | ast.With):
            waiting += node.body
    return found & known.keys()
