"""A page on which one draws a digit and a model says which it is.

    python examples/digits/digits_site.py     # then open the address that it prints

The model is a network that shoal.train trains at start, on the digits that come with scikit-learn.
Requests that come together are classified together.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import Body, FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from torch import nn

import shoal
from shoal import data, serve, train
from shoal.train.torch import TorchTrainer, prepare_model

SIDE = 8  # pixels of a picture, each from 0 to 16
app = FastAPI(title="Digits")


def network() -> nn.Module:
    """Two layers that look at neighbouring pixels, and one that decides."""
    return nn.Sequential(
        nn.Unflatten(1, (1, SIDE, SIDE)),
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 16, 10),
    )


def learn(config: dict[str, Any]) -> None:
    """Train; what every worker runs. Reports how many digits of those kept back it gets right, with a checkpoint."""
    torch.manual_seed(config["seed"])
    model = prepare_model(network())
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    kept = {name: torch.as_tensor(column) for name, column in config["kept"].items()}
    for epoch in range(config["epochs"]):
        model.train()
        for batch in train.get_dataset_shard("train").iter_torch_batches(
            batch_size=64, local_shuffle_buffer_size=512, local_shuffle_seed=epoch
        ):
            loss = nn.functional.cross_entropy(model(moved(batch["pixels"])), batch["digit"].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = (model(kept["pixels"]).argmax(1) == kept["digit"]).float().mean().item()
        with tempfile.TemporaryDirectory() as folder:
            plain = model.module if hasattr(model, "module") else model
            torch.save(plain.state_dict(), Path(folder) / "model.pt")
            train.report(
                {"accuracy": right, "loss": loss.item()},
                checkpoint=train.Checkpoint.from_directory(folder),
            )


def moved(pixels: torch.Tensor) -> torch.Tensor:
    """Pictures moved by a pixel at most: people do not draw in the middle."""
    pictures = pixels.float().reshape(-1, SIDE, SIDE)
    down, right = (int(each) for each in torch.randint(-1, 2, (2,)))
    return torch.roll(pictures, (down, right), (1, 2)).reshape(-1, SIDE * SIDE)


def trained(storage: str, workers: int = 1, epochs: int = 15) -> train.Result:
    """Train on every other digit, the rest is kept back; the result has the checkpoint."""
    from sklearn.datasets import load_digits

    pictures, digits = load_digits(return_X_y=True)
    pixels = pictures.astype(np.float32)
    rows = data.from_blocks([{"pixels": pixels[::2], "digit": digits[::2]}])
    return TorchTrainer(
        learn,
        train_loop_config={
            "epochs": epochs,
            "seed": 1,
            "kept": {"pixels": pixels[1::2], "digit": digits[1::2]},
        },
        scaling_config=train.ScalingConfig(num_workers=workers),
        run_config=train.RunConfig(name="digits", storage_path=storage),
        datasets={"train": rows},
    ).fit()


@serve.deployment(max_ongoing_requests=100)
class Classifier:
    """The model: which digit, and how sure."""

    def __init__(self, weights: dict[str, Any], accuracy: float) -> None:
        self.model = network()
        self.model.load_state_dict(weights)
        self.model.eval()
        self.right = accuracy

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def classify(self, pictures: list[list[float]]) -> list[int]:
        """Return the digits of pictures."""
        with torch.no_grad():
            found: list[int] = self.model(torch.tensor(pictures)).argmax(1).tolist()
        return found

    async def accuracy(self) -> float:
        """Return how many of the digits that it has not learnt it gets right."""
        return self.right


@serve.deployment
@serve.ingress(app)
class Site:
    """The page and its API."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier
        self.page = (Path(__file__).parent / "digits.html").read_text()

    @app.get("/", response_class=HTMLResponse)
    async def index(self) -> str:
        """Return the page."""
        return self.page

    @app.post("/digit")
    async def digit(self, pixels: Annotated[list[float], Body(embed=True)]) -> dict[str, int]:
        """Return which digit a picture is."""
        if len(pixels) != SIDE * SIDE or not all(0 <= pixel <= 16 for pixel in pixels):
            raise HTTPException(422, f"pixels are {SIDE * SIDE} numbers from 0 to 16")
        return {"digit": await self.classifier.classify.remote(pixels)}

    @app.get("/accuracy")
    async def accuracy(self) -> dict[str, float]:
        """Return how good the model is."""
        return {"accuracy": await self.classifier.accuracy.remote()}


def site_of(result: train.Result) -> serve.Application:
    """The page with the model of a training run."""
    with result.checkpoint.as_directory() as folder:
        weights = torch.load(Path(folder) / "model.pt", weights_only=True)
    return Site.bind(Classifier.bind(weights, result.metrics["accuracy"]))


if __name__ == "__main__":
    shoal.init()
    with tempfile.TemporaryDirectory() as storage:
        page = site_of(trained(storage))
    serve.start()
    serve.run(page)
    print(f"draw a digit at {serve.proxies()[0].url}; Ctrl-C ends it")
    serve.run(page, blocking=True)
