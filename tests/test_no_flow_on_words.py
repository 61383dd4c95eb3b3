"""What the package does never hangs on the words of a message, on names of other people's classes or on English.

Words may be put into another message or into a record. They may not be compared, searched or split to decide
anything: ask for the class of an error, or for an attribute that it carries.
"""

import ast
from pathlib import Path

import pytest

import sparsity_lab

PACKAGE = Path(sparsity_lab.__file__).parent
PARTS = {"what", "why", "fix"}
SEARCHES = {
    "startswith", "endswith", "find", "rfind", "index", "rindex", "count", "split", "rsplit", "partition", "rpartition",
    "removeprefix", "removesuffix", "replace", "match", "fullmatch", "search", "findall", "finditer", "sub",
}  # fmt: skip
ANCESTRY = {"__mro__", "mro", "__bases__", "__base__"}
# torch's CPU allocator raises a plain RuntimeError: its words are all there is.
FOREIGN_WORDS = {("measure/model/halving.py", "is_out_of_memory")}
COMMAND_LINE = "cli/"  # what it prints is its own matter


def flows(source, *, with_messages=True):
    """(line, function) of every place where flow hangs on words, in the order of lines.

    Args:
        source: of a module.
        with_messages: look for parts of messages as well, not for class names and English alone.
    """
    tree = ast.parse(source)
    found = set()
    for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))]:
        nodes = list(within(scope))
        errors = {node.name for node in nodes if isinstance(node, ast.ExceptHandler)} | arguments_of_error(
            scope
        )
        words = Words(errors if with_messages else None)
        words.follow(nodes)
        name = getattr(scope, "name", "")
        found |= {(node.lineno, name) for node in nodes if words.decide(node)}
    return sorted(found)


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def within(scope):
    """The nodes of a module or function, those of the functions inside it left out."""
    waiting = [scope]
    while waiting:
        children = [one for one in ast.iter_child_nodes(waiting.pop()) if not isinstance(one, FUNCTIONS)]
        yield from children
        waiting += children


def arguments_of_error(scope):
    """Arguments that are exceptions by their annotation."""
    if not isinstance(scope, FUNCTIONS):
        return set()
    given = [*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs]
    return {
        one.arg for one in given
        if one.annotation is not None and ("Error" in (kind := ast.unparse(one.annotation)) or "Exception" in kind)
    }  # fmt: skip


class Words:
    """What holds words that nothing may hang on: parts of errors, names of classes, and variables made of these."""

    def __init__(self, errors):
        self.errors = errors
        self.variables = set()

    def follow(self, nodes):
        """Find the variables, until no more of them are."""
        before = -1
        while before < len(self.variables):
            before = len(self.variables)
            for node in nodes:
                for target, value in bound(node):
                    if self.among(value):
                        self.variables |= {
                            one.id for one in ast.walk(target)
                            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
                        }  # fmt: skip

    def among(self, node):
        """Whether an expression holds words; its length and its type are none."""
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("len", "isinstance", "bool"):
            return False
        return self.are(node) or any(self.among(child) for child in ast.iter_child_nodes(node))

    def are(self, node):
        """Whether a node itself is words."""
        if isinstance(node, ast.Attribute) and node.attr in ("__name__", "__qualname__"):
            return True
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            return any(isinstance(one, ast.Constant) and one.value == "__name__" for one in node.args)
        if isinstance(node, ast.Name):
            return node.id in self.variables and isinstance(node.ctx, ast.Load)
        if self.errors is None:
            return False
        if isinstance(node, ast.Attribute):
            ours = isinstance(node.value, ast.Name) and node.value.id in self.errors and node.attr == "args"
            return ours or node.attr in PARTS
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                return function.attr in ("paragraph", "format_message")
            return ast.unparse(function) in ("str", "repr") and any(map(self.is_error, node.args))
        return isinstance(node, ast.FormattedValue) and self.is_error(node.value)

    def is_error(self, node):
        """Whether an expression is the name of an exception."""
        return isinstance(node, ast.Name) and node.id in self.errors

    def decide(self, node):
        """Whether something hangs on words at a node."""
        if isinstance(node, ast.Attribute) and node.attr in ANCESTRY:
            return True
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return any(map(is_english, sides)) or (
                any(map(self.among, sides)) and not any(map(is_layout, sides))
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SEARCHES:
            if not node.args:
                return False  # split at spaces
            return any(map(self.among, [node.func.value, *node.args])) and not is_layout(node.args[0])
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.Sub)):
            return self.among(node.left) or self.among(node.right)
        if isinstance(node, ast.Subscript):
            return self.among(node.slice)
        if isinstance(node, ast.Match):
            return self.among(node.subject)
        tests = conditions(node)
        return any(self.are(one) for test in tests for one in ast.walk(test) if not isinstance(one, ast.Name))


def bound(node):
    """(target, value) of the names that a node binds."""
    if isinstance(node, ast.Assign):
        return [pair for target in node.targets for pair in pairs(target, node.value)]
    if isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and node.value is not None:
        return [(node.target, node.value)]
    if isinstance(node, (ast.For, ast.comprehension)):
        return [(node.target, node.iter)]
    return []


def pairs(target, value):
    """(target, value) of an assignment, of several at once each its own."""
    several = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
    if several and len(target.elts) == len(value.elts):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def conditions(node):
    """The tests of a node."""
    if isinstance(node, ast.comprehension):
        return node.ifs
    return [node.test] if isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert)) else []


def is_english(node):
    """Whether a constant is a phrase of several words."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip()


def is_layout(node):
    """Whether a constant has no letters, such as the end of a line or a full stop."""
    return isinstance(node, ast.Constant) and not any(map(str.isalpha, str(node.value)))


@pytest.mark.long
def test_nothing_hangs_on_words():
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        source = path.read_text(encoding="utf-8")
        for line, function in flows(source, with_messages=not name.startswith(COMMAND_LINE)):
            found[name, function] = f"{name}:{line}"
    assert not FOREIGN_WORDS - set(found), "no longer needed"
    wrong = [place for where, place in found.items() if where not in FOREIGN_WORDS]
    assert not wrong, f"flow hangs on words in {', '.join(wrong)}"


def handled(*lines):
    return "\n".join(
        ["def f():", "    try:", "        g()", "    except E as error:", *(f"        {x}" for x in lines)]
    )


@pytest.mark.parametrize(
    "source",
    [
        handled("if not error.fix.startswith('Use'):", "    raise"),
        handled("if error.why:", "    raise"),
        handled("if path in error.what:", "    raise"),
        handled("if 'writ' not in str(error):", "    raise"),
        handled("if 'writ' not in f'{error}':", "    raise"),
        handled("if error.args[0] == words:", "    raise"),
        handled("return error.fix.split('Known:')[0]"),
        handled("return [line for line in str(error).splitlines() if 'memory' in line]"),
        handled("lines = str(error).splitlines()", "first = lines[0]", "return 'task' in first"),
        handled("if (said := error.paragraph()).endswith(END):", "    raise"),
        handled("if re.search('a|b', str(error)):", "    raise"),
        handled("if PATTERN.match(error.why):", "    raise"),
        handled("return FIXES[error.why]"),
        handled("match error.what:", "    case 'a':", "        raise"),
        handled("if type(error).__name__ == 'SafetensorError':", "    raise"),
        "def f(error: Exception):\n    return any(word in str(error) for word in WORDS)",
        "if 'NoArgs' in type(error).__name__:\n    pass",
        "if type(x).__name__.endswith('Config'):\n    pass",
        "kinds = {kind.__name__ for kind in parents(x)}\nif kinds & {'Module'}:\n    pass",
        "if getattr(function, '__name__', '') in NAMES:\n    pass",
        "Usage = typer.BadParameter.__mro__[1]",
        "lost = entry.why in reasons",
        "if row['verdict'] == 'not identified':\n    pass",
        "if 'both sides' in told:\n    pass",
    ],
)
def test_flow_on_words_is_seen(source):
    assert flows(source)


@pytest.mark.parametrize(
    "source",
    [
        handled("raise E(error.what, why=error.why, fix=error.fix or OTHER) from error"),
        handled("raise E(f'{path}: {error.what}', why=str(error)[:300])"),
        handled("return (str(error).strip().splitlines() or [type(error).__name__])[0]"),
        handled("lines = str(error).split('\\n')", "return lines[0] if lines else ''"),
        handled("row['note'] = error.what"),
        handled("if isinstance(error, UnknownNameError) and error.nearest is not None:", "    raise"),
        handled("if isinstance(error, RuntimeError) and error.errno == 2:", "    raise"),
        "if __name__ == '__main__':\n    main()",
        "if type(x) is type(y):\n    pass",
        "raise TypeError(f'{key} is not of type {kind.__name__}')",
        "if row['verdict'] == NOT:\n    pass",
        "if name.startswith('random:'):\n    pass",
    ],
)
def test_words_may_be_handed_on(source):
    assert not flows(source)


def test_the_command_line_may_read_messages_and_no_class_names():
    reading = handled("if not error.what:", "    raise")
    assert flows(reading)
    assert not flows(reading, with_messages=False)
    assert flows(handled("if type(error).__name__ in NAMES:", "    raise"), with_messages=False)
