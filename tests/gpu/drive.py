"""Runs the stages within their time and writes what came of them: `result.json`, and `result.md` for reading.

All stages that are left run in one process, since torch takes long to start. Where that process crashes, hangs or loses
the GPU, its stage gets a row that says so, and a new process goes on with the next.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from gpu.rows import Log, Row
from gpu.stages import STAGES, TOTAL, Stage
from gpu.table import render

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
GRACE = 15.0
"""Seconds beside a stage's own, after which it is taken to hang."""
START = 120.0
"""Seconds for a process to begin its first stage."""
LOOK = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages that are asked for; 0 when all that ran is as it should be."""
    parser = argparse.ArgumentParser(prog="tests/gpu/check", description="Fill the rows that need a GPU.")
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "build" / "gpu", help="the folder for the results")
    parser.add_argument("--only", nargs="+", choices=[stage.key for stage in STAGES], help="these questions alone")
    parser.add_argument("--times", type=float, default=1.0, help="give everything so many times as long")
    chosen = parser.parse_args(arguments)
    stages = [stage for stage in STAGES if not chosen.only or stage.key in chosen.only]
    chosen.out.mkdir(parents=True, exist_ok=True)
    log = Log(chosen.out / "rows.jsonl")
    log.path.unlink(missing_ok=True)
    began = time.time()
    Drive(log, chosen.out / "log.txt", began + chosen.times * TOTAL, chosen.times).all(stages)
    result = collected(log, began)
    (chosen.out / "result.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    text = render(result)
    (chosen.out / "result.md").write_text(text, "utf-8")
    print(text)
    wrong = [row for row in log.rows() if row.verdict in {"missed", "failed", "cut"}]
    for row in wrong:
        print(f"{row.verdict.upper()} {row.stage}, {row.what}: {row.value}")
    print(f"{len(log.rows())} rows in {time.time() - began:.0f} s, in {chosen.out}/result.json")
    return bool(wrong)


@dataclass
class Drive:
    """The stages of one run."""

    log: Log
    output: Path
    until: float
    times: float = 1.0

    def all(self, stages: Sequence[Stage]) -> None:
        """Run each stage, in as few processes as can be."""
        left = list(stages)
        while left:
            if time.time() >= self.until:
                for stage in left:
                    self._row(stage, "cut", "no time was left for it")
                return
            status, killed = self._process(left)
            begun, ended = set(self.log.of("begin")), set(self.log.of("end"))
            if not any(stage.key in begun for stage in left):
                begun.add(left[0].key)
            for stage in left:
                if stage.key in begun - ended:
                    words = f"killed: {killed}" if killed else f"its process ended with status {status}: {self._tail()}"
                    self._row(stage, "cut" if killed else "failed", words)
            left = [stage for stage in left if stage.key not in begun]

    def _process(self, stages: Sequence[Stage]) -> tuple[int, str]:
        """Run stages in a process of their own; its status, and why it was killed where it was."""
        own = ["--rows", str(self.log.path), "--until", str(self.until), "--times", str(self.times), "--dry"]
        pytest = [sys.executable, "-u", "-m", "pytest", "-q", "-m", "gpu", "--confcutdir", str(HERE)]
        plain = ["-p", "no:cacheprovider", "-o", "filterwarnings=default", "--continue-on-collection-errors"]
        files = [str(stage.file) for stage in stages]
        with self.output.open("ab") as output:
            process = subprocess.Popen([*pytest, *plain, *own, *files], cwd=ROOT, stdout=output, stderr=output)
            why = ""
            try:
                why = self._watch(process, stages)
            finally:
                if process.poll() is None:
                    process.kill()
            return process.wait(), why

    def _watch(self, process: subprocess.Popen[bytes], stages: Sequence[Stage]) -> str:
        """Wait until a process is done; "" then, or why it must not go on."""
        limits = {stage.key: self.times * stage.seconds + GRACE for stage in stages}
        now, since, limit = "", time.time(), self.times * START
        while process.poll() is None:
            if time.time() > self.until + GRACE:
                return "the time for all was up"
            going = [key for key in self.log.of("begin") if key in limits]
            if going and going[-1] != now:
                now, since = going[-1], time.time()
                limit = limits[now]
                print(f"{now} …", flush=True)
            if time.time() - since > limit:
                return f"it took more than {limit:.0f} s"
            time.sleep(LOOK)
        return ""

    def _row(self, stage: Stage, verdict: str, words: str) -> None:
        self.log.row(Row(stage.key, "the stage", "cuda" if self._on_gpu() else "cpu", verdict, words))  # type: ignore[arg-type]

    def _on_gpu(self) -> bool:
        return any("gpu" in machine for machine in self.log.of("machine"))

    def _tail(self) -> str:
        lines = [line.strip() for line in self.output.read_text("utf-8", "replace").splitlines() if line.strip()]
        return " | ".join(lines[-4:])[-300:]


def collected(log: Log, began: float) -> dict[str, object]:
    """Give everything of a run as one object of JSON."""
    machines, probed = log.of("machine"), log.of("probed")
    return {
        "began": datetime.fromtimestamp(began, timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(time.time() - began),
        "machine": machines[0] if machines else {},
        "rows": log.of("row"),
        "probed": probed[0] if probed else {},
    }


if __name__ == "__main__":
    sys.exit(main())
