"""Training and inference steps of backbones, also of torch_ecg's by the interpreter where it is installed.

PYTHON benchmarks/speed/peer_backbones.py torch_ecg   # reads jobs from standard input, without this project

A job is a line of JSON: name, samples, batch_size, repetitions. The answer is a line of JSON: parameters and
CPU seconds of each step.
"""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

LEADS = 12


def timed(job: Callable[[], Any], repetitions: int) -> list[float]:
    """CPU seconds of each call, after a warm-up."""
    job()
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return times


def answer(torch: Any, network: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Time a network that takes signals (B, leads, T)."""
    torch.manual_seed(0)
    signals = torch.randn(job["batch_size"], LEADS, job["samples"])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        network(signals).square().mean().backward()
        optimizer.step()

    def infer() -> None:
        with torch.inference_mode():
            network(signals)

    network.train()
    training = timed(train, job["repetitions"])
    network.eval()
    inference = timed(infer, job["repetitions"])
    count = sum(p.numel() for p in network.parameters())
    return {"parameters": count, "train": training, "infer": inference}


def serve(build: Callable[[str], Any], version: str) -> None:
    """Answer the jobs of standard input, one a line."""
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(answer(torch, build(job["name"]), job)), flush=True)


def main() -> None:
    """Serve the backbones of the package that the command line names."""
    warnings.simplefilter("ignore")
    package = sys.argv[1]  # no dependency of this project
    config = importlib.import_module(f"{package}.model_configs").ECG_CRNN_CONFIG
    model = importlib.import_module(f"{package}.models.ecg_crnn").ECG_CRNN

    def build(name: str) -> Any:
        changed = copy.deepcopy(config)
        changed.cnn.name = name
        return model(["a", "b"], LEADS, changed).cnn

    serve(build, importlib.metadata.version(package))


if __name__ == "__main__":
    main()
