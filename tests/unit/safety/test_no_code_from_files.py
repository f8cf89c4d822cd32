"""No code comes out of a file: what could execute, unpickle or import by name is in a list, each place with its reason."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import diffopt_widgets as dw

PACKAGE = Path(dw.__file__).parent
CALLS = {
    "eval", "exec", "compile", "__import__", "import_module", "run_module", "run_path", "exec_module", "find_loader",
    "loads", "load", "Unpickler", "system", "popen", "Popen", "run", "call", "check_call", "check_output", "unpack_archive",
    "extractall", "load_extension", "enable_load_extension", "urlopen", "urlretrieve", "create_connection", "connect",
}  # fmt: skip
"""Names of functions that execute what they are given, or that of some module do."""
MODULES = {
    "pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "subprocess", "ctypes", "xml", "requests",
    "httpx", "aiohttp", "ftplib", "smtplib", "http", "urllib.request", "socketserver", "xmlrpc", "runpy", "code", "codeop",
}  # fmt: skip
"""Modules that execute, or send, what they are given."""
ALLOWED = {
    "__init__.py": {"import_module(f'{__name__}.{_HOMES[name]}')": "a table in the same file"},
    "catalogue/__init__.py": {"importlib.import_module(f'{__name__}.families.{name}')": "a table in the same file"},
    "catalogue/names.py": {"importlib.import_module('torch.optim')": "a constant"},
    "catalogue/introspect/uncatalogued.py": {
        "importlib.import_module(module)": "a path that a person typed; `is_trusted` guards those from files"
    },
    "optimizers/factory.py": {
        "importlib.import_module(module)": "the target of a spec, which is the catalogue's or `spec_of`'s"
    },
    "optimizers/quirks/adv_optm.py": {"importlib.import_module('torch._dynamo.config')": "a constant"},
    "rates/choice.py": {"importlib.import_module(f'{__package__}.{module}')": "a table in the same file"},
    "widgets/state_size/card.py": {"importlib.import_module(module)": "a constant tuple"},
    "tasks/digits.py": {
        "np.load(file)": "our own file, and numpy's default refuses pickles",
        "np.load(io.BytesIO(content))": "our own file, whose hash is checked, and numpy's default refuses pickles",
    },
    "drawing/raster.py": {
        "import xml.etree.ElementTree": "reads the picture that we have just drawn",
        "np.load(Path(__file__).parent / 'static' / 'glyphs.npz')": "our own file, and numpy's default refuses pickles",
    },
    "store/extras.py": {"np.load(io.BytesIO(data), allow_pickle=False)": "refuses pickles"},
    "training/checkpoint.py": {"torch.load(io.BytesIO(data), weights_only=True, map_location=placed)": "refuses code"},
    "execution/launch.py": {
        "import pickle": "a training on its way to the processes of one program, and back",
        "import subprocess": "starts the processes of a training",
        "pickle.loads((folder / OUTCOME).read_bytes())": "what the first process wrote into a folder that only its owner can read",
        "subprocess.Popen([sys.executable, '-m', ranks.__name__, str(folder), str(count)], stdin=subprocess.PIPE, stdout=output, "
        "stderr=subprocess.STDOUT, env=_environment(count), **new_session)": "a module of ours",
    },
    "execution/ranks.py": {
        "import pickle": "as in launch.py",
        "pickle.loads((folder / JOB).read_bytes())": "what the program wrote into a folder that only its owner can read",
    },
    "execution/executors.py": {
        "import pickle": "a task on its way to a process of the same program",
        "import cloudpickle": "a task on its way to a Dask worker",
        "client.run(eval, _VERSION_IF_ANY)": "a constant",
        "self._client.run(eval, _VERSION_IF_ANY)": "a constant",
    },
    "execution/reports.py": {
        "self._client.run(stop_sweep, self._topic, on_error='ignore')": "a function of ours",
        "import pickle": "reports on their way to the program that sweeps",
        "pickle.loads(task)": "what the parent process pickled",
        "pickle.loads(path.read_bytes())": "what a worker wrote into a folder that only its owner can read",
        "pickle.loads(data)": "what a worker of the same sweep kept at the Dask scheduler",
        "pickle.loads(self._reports.get_nowait())": "what a worker of the same sweep logged at the Dask scheduler",
    },
    "store/database.py": {
        "sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None)": "a file; its views and triggers are refused"
    },
}
HARMLESS = {
    "json.loads": "gives plain values",
    "re.compile": "a pattern",
    **dict.fromkeys(("self.store.load", "self.load", "store.load"), "RunStore's own, which this test is about"),
    "draft.load": "puts a preset of the catalogue into the form",
    "platform.system": "the name of the system",
    "torch.compile": "a function of ours",
    "cast('_Modal', optimizer).eval": "the mode of an optimizer",
}


def risks(path: Path) -> list[str]:
    """Return the calls and imports of a file that could execute what comes out of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in CALLS and ast.unparse(node.func) not in HARMLESS:
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Import):
            found += [f"import {one.name}" for one in node.names if _is_risky(one.name)]
        elif isinstance(node, ast.ImportFrom) and node.module and _is_risky(node.module):
            found.append(f"from {node.module} import {', '.join(one.name for one in node.names)}")
    return found


def _is_risky(module: str) -> bool:
    return module in MODULES or module.partition(".")[0] in MODULES


@pytest.mark.slow
def test_what_could_execute_a_file_is_known_with_its_reason():
    found = {path.relative_to(PACKAGE).as_posix(): risks(path) for path in sorted(PACKAGE.rglob("*.py"))}
    unknown = {name: [risk for risk in some if risk not in ALLOWED.get(name, {})] for name, some in found.items()}
    assert {name: some for name, some in unknown.items() if some} == {}
    gone = {name: set(reasons) - set(found[name]) for name, reasons in ALLOWED.items()}
    assert {name: some for name, some in gone.items() if some} == {}
