"""A training and an inference step of each backbone beside torch_ecg's of the same configuration."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from benchmarks.speed.options import SpeedOptions
from benchmarks.speed.peer_backbones import serve
from benchmarks.speed.worker import ONE_THREAD
from training.checkpoint import ROOT
from utils.errors import TwelveLeadError, UsageError, nearest

# Ours, and torch_ecg's of the same configuration; none where it has no network of that kind.
BACKBONES: dict[str, str | None] = {
    "resnet_18": "resnet_18",
    "resnet_50_torch_ecg": "resnet_50",
    "resnext_50_32x4d_torch_ecg": "resnext_50_32x4d",
    "resnet_nature_comm": "resnet_nature_comm",
    "resnet_nature_comm_bottle_neck_gc": "resnet_nature_comm_bottle_neck_gc",
    "resnet_stanford_torch_ecg": "resnet_stanford",
    "resnet_leadwise": "resnet_leadwise",
    "resnetNS": "resnetNS",
    "tresnetF": "tresnetF",
    "tresnetP": "tresnetP",
    "multi_scopic": "multi_scopic",
    "vgg16": "vgg16",
    "densenet_vanilla": "densenet_vanilla",
    "xception_vanilla": "xception_vanilla",
    "mobilenet_v1": "mobilenet_v1",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3": "mobilenet_v3",
    "regnet_S": "regnet_S",
    "regnet_16_8": "regnet_16_8",
    "darknet_53": None,
    "efficientnet_b0": None,
    "hardnet_39ds": None,
    "midpoint_resnet": None,
}
_SAMPLES, _BATCH = 2500, 2  # 5 s at 500 Hz, what the configurations are meant for


def main() -> None:
    """Serve our backbones."""
    from models_torch.backbones import create_backbone

    serve(lambda name: create_backbone(name, channels_first=True), "")


class Server:
    """A process that answers jobs, and its version."""

    def __init__(self, process: subprocess.Popen[str]):
        assert process.stdin and process.stdout
        self.process, self.jobs, self.answers = process, process.stdin, process.stdout
        self.version = self._read()["version"]

    def _read(self) -> dict[str, Any]:
        line = self.answers.readline()
        if not line:
            errors: IO[str] | None = self.process.stderr
            text = errors.read().strip()[-1500:] if errors else ""
            raise TwelveLeadError(f"{self.process.args}: {text}")  # type: ignore[str-bytes-safe]
        return json.loads(line)

    def ask(self, **job: Any) -> dict[str, Any]:
        """Answer of one job."""
        self.jobs.write(json.dumps(job) + "\n")
        self.jobs.flush()
        return self._read()


@contextlib.contextmanager
def server(command: list[str]) -> Iterator[Server]:
    """Start a process that answers jobs on one thread."""
    try:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **ONE_THREAD}, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"--peer {command[0]} cannot be started: {error.strerror or error}") from error
    with process:
        try:
            yield Server(process)
        finally:
            process.kill()


def measure(options: SpeedOptions) -> dict[str, Any]:
    """Measure in turn, in two processes on one thread; the best step counts."""
    names = options.backbones or list(BACKBONES)
    for name in names:
        if name not in BACKBONES:
            raise UsageError(f"--backbones: unknown '{name}': {nearest(name, BACKBONES)}")
    sizes = {"samples": _SAMPLES, "batch_size": _BATCH, "repetitions": options.repetitions}
    report: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(server([sys.executable, "-m", "benchmarks.speed.backbones"]))
        peer = None
        if options.peer:
            script = str(Path(__file__).with_name("peer_backbones.py"))
            peer = stack.enter_context(server([options.peer, script, "torch_ecg"]))
        for name in names:
            runs: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
            for _ in range(options.rounds):
                runs["ours"].append(ours.ask(name=name, **sizes))
                if peer and BACKBONES[name]:
                    runs["peer"].append(peer.ask(name=BACKBONES[name], **sizes))
            report[name] = entry(runs)
            ratios = [report[name].get(f"{job}_ratio") for job in ("train", "infer")]
            print(f"{name}: ours / peer's, training and inference step: {ratios}", flush=True)
    version = f"torch_ecg {peer.version}" if peer else None
    return {"peer": version, **sizes, "rounds": options.rounds, "backbones": report}


def entry(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Parameters, best CPU seconds of a step for each kind, and the ratio of ours to the peer's."""
    found: dict[str, Any] = {}
    for kind, answers in runs.items():
        if answers:
            best = {job: round(min(min(a[job]) for a in answers), 5) for job in ("train", "infer")}
            found[kind] = {"parameters": answers[0]["parameters"], **best}
    if "peer" in found:
        for job in ("train", "infer"):
            found[f"{job}_ratio"] = round(found["ours"][job] / found["peer"][job], 3)
    return found


if __name__ == "__main__":
    main()
