"""The code in README.md and docs/ runs as it stands there, block after block, and every command is one that exists.

A block for another program's packages begins with `<!-- needs: PACKAGE -->` and runs where that is installed. One that cannot run here
has `no-run: REASON` behind its language, and is only compiled.
"""

from __future__ import annotations

import re
import shlex

import pytest
from places import ROOT

from diffopt_widgets.cli.main import _parser, main

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(
    r"(?:<!-- needs: (?P<needs>\w+) -->\n)?^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
SHELLS = {"sh", "bash"}


def blocks(name, *languages):
    """Return the blocks in these languages on a page: what each needs, its language, its code."""
    found = [match.groupdict("") for match in FENCE.finditer((ROOT / name).read_text(encoding="utf-8"))]
    return [
        (block["needs"], block["info"], block["code"]) for block in found if block["info"].split(" ")[0] in languages
    ]


def python_pages():
    """Yield each page with Python, once for each package that a block of it needs."""
    for name in NAMES:
        needs = dict.fromkeys(["", *(block[0] for block in blocks(name, "python"))])
        for need in needs if blocks(name, "python") else ():
            yield pytest.param(name, need, id=f"{name} {need}".strip())


def test_every_fence_is_seen_and_none_is_left_out():
    for page, name in zip(PAGES, NAMES, strict=True):
        languages = re.findall(r"^ *```(\w.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(languages) == len(blocks(name, "python", *SHELLS)), f"{name} has {languages}"


def test_few_blocks_are_left_out_and_each_has_a_reason():
    left_out = [info for name in NAMES for _, info, _ in blocks(name, "python") if " " in info]
    assert all(re.fullmatch(r"python no-run: \w.{10,}", info) for info in left_out)
    assert len(left_out) < 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the trainers' own
@pytest.mark.parametrize(("name", "needs"), [*python_pages()])
def test_the_code_of_a_page_runs(name, needs, tmp_path, monkeypatch):
    if needs:
        extra = {"optuna": "optuna", "distributed": "dask", "submitit": ""}.get(needs, "integrations")
        where = f"the extra diffopt-widgets[{extra}]" if extra else f"{needs}, which is in no extra"
        pytest.importorskip(needs, reason=f"needs {where}")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for wanted, info, code in blocks(name, "python"):
        compiled = compile(code, name, "exec")
        if wanted in {"", needs} and "no-run" not in info:
            exec(compiled, names)  # noqa: S102  # that it runs is the point
    runs = [run for value in names.values() for run in (value if isinstance(value, list) else [value])]
    for run in runs:
        if hasattr(run, "final_loss"):
            assert run.status in {"done", "stopped"}, run.message


@pytest.mark.slow
def test_the_page_on_tasks_says_what_is_printed(capsys):
    code = "".join(code for *_, code in blocks("docs/own-task.md", "python"))
    exec(compile(code, "docs/own-task.md", "exec"), {})  # noqa: S102
    assert code.partition("print(dw.list_tasks())  # ")[2].partition("\n")[0] in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------------ commands


def lines(code):
    """Yield the command lines of a shell block, as lists of words; those inside `sh -c '…'` too."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = next((index for index, word in enumerate(words) if word in {"&&", "|", ";"}), len(words))
            command, words = words[:end], words[end + 1 :]
            if "-c" in command and command[command.index("-c") - 1] in {"sh", "bash"}:
                yield from lines(command[command.index("-c") + 1])
            if command:
                yield command


COMMANDS = [
    pytest.param(command, id=f"{name}: {' '.join(command)}")
    for name in NAMES
    for *_, code in blocks(name, *SHELLS)
    for command in lines(code)
]
QUOTED = sorted(
    {
        text
        for page in PAGES
        for text in re.findall(r"`(diffopt [^`]+)`", page.read_text(encoding="utf-8"))
        if not re.search(r"[…|]| (KEY|COMMAND|FOLDER)\b", text)
    }
)
OTHERS = {"git", "cd", "docker", "python3", "python", "pip", "pytest", ".", "just", "tests/gpu/check"}


def check(words):
    """Have the command's own parser read its words."""
    parsed, unknown = _parser().parse_known_args(words[1:])
    assert not unknown
    assert parsed.command is not None


@pytest.mark.parametrize("words", COMMANDS)
def test_every_line_for_a_shell_is_a_command(words):
    if words[0] == "diffopt":
        check(words)
        return
    assert words[0] in OTHERS
    for word in words[1:] if words[0] in {"python", "pytest", "pip"} else ():
        if word.endswith((".py", ".txt")) or word.startswith("tests/"):
            assert (ROOT / word).exists()
    if words[0].startswith("tests/"):
        assert (ROOT / words[0]).exists()
    if words[0] == "just" and len(words) > 1:
        assert re.search(rf"^{words[1]}\b.*:", (ROOT / "justfile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("text", QUOTED)
def test_every_command_in_a_sentence_is_one(text):
    check(shlex.split(text))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        command
        for command in COMMANDS
        if command.values[0][0] == "diffopt" and not {"lab", "300"} & set(command.values[0])
    ],
)
def test_commands_that_take_seconds_end_well(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words[1:]) == 0
    assert "Traceback" not in capsys.readouterr().err
