"""Preprocessors whose fit and transform run in worker processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import preprocessing
from sklearn.datasets import load_wine

import shoal.data
from shoal.data import Preprocessor
from shoal.data.preprocessors import Chain, CountVectorizer, OneHotEncoder, SimpleImputer, StandardScaler

pytestmark = [pytest.mark.usefixtures("processes"), pytest.mark.processes]


def test_the_same_comes_out_as_of_scikit_learn() -> None:
    frame = load_wine(as_frame=True).frame[["hue", "proline", "target"]]
    holed = frame.copy()
    holed.loc[[3, 40, 170], "hue"] = np.nan
    chain = Chain(SimpleImputer(["hue"]), StandardScaler(["hue", "proline"]), OneHotEncoder(["target"]))
    made = chain.fit_transform(
        shoal.data.from_pandas(holed, override_num_blocks=5), transform_num_cpus=1, transform_batch_size=50
    ).to_pandas()
    filled = holed[["hue", "proline"]].fillna({"hue": holed["hue"].mean()})
    np.testing.assert_allclose(
        made[["hue", "proline"]], preprocessing.StandardScaler().fit_transform(filled), atol=1e-12
    )
    assert np.array_equal(np.argmax(np.stack(made["target"]), axis=1), frame["target"])


def test_what_an_actor_is_given_it_can_use() -> None:
    texts = shoal.data.from_items([{"text": "a b a"}, {"text": "b c"}], override_num_blocks=2)
    fitted = CountVectorizer(["text"], tokenization_fn=lambda text: text.split()).fit(texts)

    @shoal.remote(num_cpus=0)
    class Server:
        def __init__(self, data: bytes) -> None:
            self.step = Preprocessor.deserialize(data)

        def counts(self, text: str) -> list[int]:
            counts: Any = self.step.transform_batch({"text": np.array([text], dtype=object)})["text"]
            return [int(count) for count in counts[0]]

    server = Server.remote(fitted.serialize())
    assert shoal.get(server.counts.remote("c c a"), timeout=60) == [1, 0, 2]
