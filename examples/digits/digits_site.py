"""A page on which one draws a digit and a model says which it is.

    python examples/digits/digits_site.py     # then open the address that it prints

The model is a classifier of scikit-learn, trained at start on the digits that come with it. Requests that come together
are classified together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException
from fastapi.responses import HTMLResponse

import shoal
from shoal import serve

SIDE = 8  # pixels of a picture, each from 0 to 16
app = FastAPI(title="Digits")


@serve.deployment(max_ongoing_requests=100)
class Classifier:
    """The model: which digit, and how sure."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits
        from sklearn.svm import SVC

        pictures, digits = load_digits(return_X_y=True)
        self.model = SVC(gamma=0.001, probability=False).fit(pictures[::2], digits[::2])
        self.right = float(self.model.score(pictures[1::2], digits[1::2]))

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.005)
    async def classify(self, pictures: list[list[float]]) -> list[int]:
        """Return the digits of pictures."""
        return [int(digit) for digit in self.model.predict(pictures)]

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


site = Site.bind(Classifier.bind())

if __name__ == "__main__":
    shoal.init()
    serve.start()
    serve.run(site)
    print(f"draw a digit at {serve.proxies()[0].url}; Ctrl-C ends it")
    serve.run(site, blocking=True)
