"""Preprocessors, beside what scikit-learn makes of the same rows, and with rows that have no right answer."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import preprocessing
from sklearn.datasets import load_wine
from sklearn.feature_extraction.text import CountVectorizer as SklearnCountVectorizer
from sklearn.impute import SimpleImputer as SklearnImputer

import shoal.data
from shoal.data import Preprocessor
from shoal.data.aggregate import Mean
from shoal.data.preprocessor import (
    PreprocessorNotFittedException,
    SerializablePreprocessorBase,
)
from shoal.data.preprocessors import (
    Categorizer,
    Chain,
    Concatenator,
    CountVectorizer,
    CustomKBinsDiscretizer,
    FeatureHasher,
    HashingVectorizer,
    LabelEncoder,
    MaxAbsScaler,
    MinMaxScaler,
    MultiHotEncoder,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
    Tokenizer,
    TorchVisionPreprocessor,
    UniformKBinsDiscretizer,
)
from shoal.data.preprocessors.defaults import simple_hash
from shoal.data.preprocessors.serialization_handlers import (
    CloudPickleSerializationHandler,
    PickleSerializationHandler,
)
from shoal.data.preprocessors.version_support import UnknownPreprocessorError

pytestmark = pytest.mark.usefixtures("inline")

NUMBERS = ["alcohol", "hue", "proline"]


def wine() -> Any:
    frame = load_wine(as_frame=True).frame[[*NUMBERS, "target"]].copy()
    frame["constant"] = 7.0
    frame.loc[[3, 40, 170], "hue"] = np.nan
    return frame


def wines() -> shoal.data.Dataset:
    return shoal.data.from_pandas(wine(), override_num_blocks=5)


def table(**columns: Any) -> shoal.data.Dataset:
    return shoal.data.from_arrow(pa.table(columns), override_num_blocks=2)


def values(dataset: shoal.data.Dataset, name: str) -> list[Any]:
    return [row[name] for row in dataset.take_all()]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (StandardScaler, preprocessing.StandardScaler()),
        (MinMaxScaler, preprocessing.MinMaxScaler()),
        (MaxAbsScaler, preprocessing.MaxAbsScaler()),
        (RobustScaler, preprocessing.RobustScaler()),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_scalers_do_what_scikit_learns_do(ours: Callable[[list[str]], Preprocessor], theirs: Any) -> None:
    columns = [*NUMBERS, "constant"]
    made = ours(columns).fit_transform(wines()).to_pandas()[columns]
    np.testing.assert_allclose(made, theirs.fit_transform(wine()[columns]), rtol=1e-9, atol=1e-12)


def test_the_quantiles_of_many_rows_are_near_with_little_kept() -> None:
    numbers = np.random.default_rng(0).permutation(100_000).astype(float)
    dataset = shoal.data.from_arrow(pa.table({"x": numbers}), override_num_blocks=7)
    rough = RobustScaler(["x"], quantile_precision=200).fit(dataset).stats_
    fine = RobustScaler(["x"], quantile_precision=200_000).fit(dataset).stats_
    assert fine["median(x)"] == 49_999.5
    for key, value in fine.items():
        assert abs(rough[key] - value) < 0.02 * len(numbers)
    assert rough != fine  # the parameter does something


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
def test_normalizer_does_what_scikit_learns_does(norm: str) -> None:
    frame = wine()[["alcohol", "proline"]]
    frame.loc[5] = 0.0
    made = Normalizer(["alcohol", "proline"], norm=norm).transform(shoal.data.from_pandas(frame)).to_pandas()
    np.testing.assert_allclose(made, preprocessing.normalize(frame, norm))


@pytest.mark.parametrize("power", [0, 0.5, 2, -1.5])
@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
def test_power_transformer_does_what_scikit_learns_does(power: float, method: str) -> None:
    numbers = np.linspace(0.1, 4, 20) if method == "box-cox" else np.linspace(-3, 4, 20)
    theirs = preprocessing.PowerTransformer(method=method, standardize=False).fit(numbers[:, None])
    theirs.lambdas_ = np.array([float(power)])
    made = PowerTransformer(["x"], power=power, method=method).transform(table(x=numbers))
    np.testing.assert_allclose(values(made, "x"), theirs.transform(numbers[:, None])[:, 0])


def test_box_cox_refuses_what_is_not_above_zero() -> None:
    with pytest.raises(ValueError, match=r"above 0.*'x'.*yeo-johnson"):
        PowerTransformer(["x"], power=2, method="box-cox").transform_batch({"x": np.array([1.0, 0.0])})


COLORS = ["red", "blue", "green", "blue", "red", "blue"]


def test_one_hot_and_ordinal_encoders_do_what_scikit_learns_do() -> None:
    column = np.array(COLORS)[:, None]
    hot = OneHotEncoder(["color"]).fit_transform(table(color=COLORS))
    theirs = preprocessing.OneHotEncoder(sparse_output=False).fit_transform(column)
    assert np.array_equal(np.stack(values(hot, "color")), theirs)
    ordinal = OrdinalEncoder(["color"]).fit_transform(table(color=COLORS))
    assert values(ordinal, "color") == preprocessing.OrdinalEncoder().fit_transform(column)[:, 0].tolist()


def test_what_a_fit_did_not_see_has_a_meaning_for_each_encoder() -> None:
    seen, new = table(color=COLORS), table(color=["blue", "pink"])
    hot = OneHotEncoder(["color"]).fit(seen)
    assert [list(each) for each in values(hot.transform(new), "color")] == [[1, 0, 0], [0, 0, 0]]
    assert hot.safe_get("red", hot.stats_["unique_values(color)"]) == 2
    assert hot.safe_get("pink", hot.stats_["unique_values(color)"]) == -1
    assert values(OrdinalEncoder(["color"]).fit(seen).transform(new), "color") == [0, None]
    assert values(LabelEncoder("color").fit(seen).transform(new), "color") == [0, None]
    assert values(Categorizer(["color"]).fit(seen).transform(new), "color") == ["blue", None]


def test_max_categories_keeps_the_most_frequent() -> None:
    hot = OneHotEncoder(["color"], max_categories={"color": 2}).fit(table(color=COLORS))
    assert hot.stats_ == {"unique_values(color)": {"blue": 0, "red": 1}}
    with pytest.raises(ValueError, match=r"max_categories names 'size', which is none of color"):
        OneHotEncoder(["color"], max_categories={"size": 2})


@pytest.mark.parametrize(
    "make", [OneHotEncoder, OrdinalEncoder, MultiHotEncoder], ids=lambda each: each.__name__
)
def test_encoders_refuse_nulls_by_name(make: Any) -> None:
    with pytest.raises(ValueError, match=r"'color' has 1 nulls.*SimpleImputer"):
        make(["color"]).fit(table(color=["red", None]))
    with pytest.raises(ValueError, match=r"'color' has 1 nulls"):
        make(["color"]).fit(table(color=COLORS)).transform_batch(pa.table({"color": ["red", None]}))


def test_categories_of_another_type_are_refused_by_name() -> None:
    encoder = OneHotEncoder(["size"]).fit(table(size=[1, 2]))
    assert encoder.transform_batch({"size": np.array([2.0, 2.5])})["size"].tolist() == [[0, 1], [0, 0]]
    with pytest.raises(TypeError, match="'size' is of binary, but was of int64"):
        encoder.transform_batch({"size": [b"x"]})


GENRES = [["drama", "war"], ["comedy"], [], ["war", "comedy", "drama"]]


def test_multi_hot_encoder_does_what_scikit_learns_binarizer_does() -> None:
    made = MultiHotEncoder(["genres"], output_columns=["hot"]).fit_transform(table(genres=GENRES))
    assert np.array_equal(
        np.stack(values(made, "hot")), preprocessing.MultiLabelBinarizer().fit_transform(GENRES)
    )
    assert values(made, "genres") == GENRES
    twice = MultiHotEncoder(["genres"]).fit(table(genres=GENRES))
    batch = twice.transform_batch(pa.table({"genres": [["war", "war", "opera"], []]}))
    assert [list(row) for row in batch.column("genres").combine_chunks().to_numpy_ndarray()] == [
        [0, 0, 2],
        [0, 0, 0],
    ]


def test_ordinal_encoder_of_lists_one_by_one_or_whole() -> None:
    one_by_one = OrdinalEncoder(["genres"]).fit_transform(table(genres=GENRES))
    assert values(one_by_one, "genres") == [[1, 2], [0], [], [2, 0, 1]]
    whole = OrdinalEncoder(["genres"], encode_lists=False).fit_transform(table(genres=GENRES))
    assert values(whole, "genres") == [2, 1, 0, 3]


def test_labels_come_back() -> None:
    encoder = LabelEncoder("color", output_column="label")
    made = encoder.fit_transform(table(color=COLORS))
    assert values(made, "label") == preprocessing.LabelEncoder().fit_transform(COLORS).tolist()
    assert values(encoder.inverse_transform(made.drop_columns("color")), "color") == COLORS
    with pytest.raises(ValueError, match="from 0 to 2"):
        encoder.inverse_transform(table(label=[3])).take_all()


def test_categorizer_makes_pandas_categories() -> None:
    kind = pd.CategoricalDtype(["red", "green", "blue"], ordered=True)
    dataset = table(color=COLORS, size=[3, 1, 2, 1, 1, None])
    frame = Categorizer(["color", "size"], dtypes={"color": kind}).fit_transform(dataset).to_pandas()
    assert list(frame["color"].cat.categories) == ["red", "green", "blue"]
    assert frame["color"].cat.ordered
    assert list(frame["color"]) == COLORS
    assert list(frame["size"].cat.categories) == [1, 2, 3]
    assert frame["size"].isna().tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("strategy", ["mean", "most_frequent"])
def test_imputer_does_what_scikit_learns_does(strategy: str) -> None:
    numbers = [1.0, 4.0, None, 4.0, 1.0, float("nan"), 9.0]
    made = SimpleImputer(["x"], strategy=strategy).fit_transform(table(x=pa.array(numbers)))
    theirs = SklearnImputer(strategy=strategy).fit_transform(np.array(numbers, dtype=float)[:, None])
    np.testing.assert_allclose(values(made, "x"), theirs[:, 0])


def test_imputer_with_constants_and_without_any_value() -> None:
    texts = SimpleImputer(["t"], strategy="constant", fill_value="none")
    assert texts.fit_status() is Preprocessor.FitStatus.NOT_FITTABLE
    assert values(texts.transform(table(t=["a", None])), "t") == ["a", "none"]
    halves = SimpleImputer(["x"], strategy="constant", fill_value=0.5)
    assert values(halves.transform(table(x=[1, None])), "x") == [1.0, 0.5]
    with pytest.raises(TypeError, match="'t' of string cannot be filled with 1"):
        SimpleImputer(["t"], strategy="constant", fill_value=1).transform_batch({"t": ["a"]})
    with pytest.raises(ValueError, match=r"mean\(x\) is not known: the column has no value"):
        SimpleImputer(["x"]).fit(table(x=pa.nulls(3, pa.float64())))
    with pytest.raises(ValueError, match="fill_value is needed"):
        SimpleImputer(["x"], strategy="constant")


def test_uniform_bins_are_scikit_learns() -> None:
    made = UniformKBinsDiscretizer(["alcohol"], bins=4, right=False).fit_transform(wines())
    theirs = preprocessing.KBinsDiscretizer(4, encode="ordinal", strategy="uniform", subsample=None)
    assert values(made, "alcohol") == theirs.fit_transform(wine()[["alcohol"]])[:, 0].tolist()


def test_custom_bins_are_those_of_pandas() -> None:
    ages = [0.0, 18.0, 40.0, 65.0, None, 200.0]
    edges = [0, 18, 65, 120]
    for right in (True, False):
        for lowest in (True, False):
            made = CustomKBinsDiscretizer(["age"], edges, right=right, include_lowest=lowest)
            found = pd.cut(pd.Series(ages), edges, right=right, include_lowest=lowest, labels=False)
            got = values(made.transform(table(age=ages)), "age")
            assert got == [None if pd.isna(each) else int(each) for each in found]
    kind = pd.CategoricalDtype(["young", "grown", "old"], ordered=True)
    named = CustomKBinsDiscretizer(["age"], edges, dtypes={"age": kind}).transform(table(age=ages))
    assert values(named, "age") == [None, "young", "grown", "grown", None, None]
    small = CustomKBinsDiscretizer(["age"], {"age": edges}, dtypes={"age": np.int8}).transform(
        table(age=ages)
    )
    assert small.schema().types == [pa.int8()]
    intervals = pd.IntervalIndex.from_tuples([(0, 20), (30, 70)])
    assert values(CustomKBinsDiscretizer(["age"], intervals).transform(table(age=ages)), "age") == [
        None, 0, 1, 1, None, None,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="unique"):
        CustomKBinsDiscretizer(["age"], [0, 0, 9]).transform_batch({"age": np.array([1.0])})
    dropped = CustomKBinsDiscretizer(["age"], [0, 0, 9], duplicates="drop")
    assert dropped.transform_batch({"age": np.array([1.0])})["age"].tolist() == [0]


TEXTS = ["the cat sat", "the the dog", None, ""]


def test_count_vectorizer_counts_what_scikit_learns_does() -> None:
    texts = ["the cat sat", "the the dog"]
    ours = CountVectorizer(["text"]).fit(table(text=texts))
    theirs = SklearnCountVectorizer().fit(texts)
    names = list(ours.stats_["token_counts(text)"])
    assert ours.stats_["token_counts(text)"] == {"the": 3, "cat": 1, "dog": 1, "sat": 1}
    counts = np.stack(values(ours.transform(table(text=texts)), "text"))
    assert np.array_equal(
        counts[:, [names.index(name) for name in theirs.get_feature_names_out()]],
        theirs.transform(texts).toarray(),
    )
    assert list(CountVectorizer(["text"], max_features=2).fit(table(text=texts)).stats_["token_counts(text)"]) == [
        "the", "cat",
    ]  # fmt: skip


def test_texts_without_words_and_columns_that_are_no_texts() -> None:
    split = Tokenizer(["text"], tokenization_fn=str.split, output_columns=["words"]).transform(
        table(text=TEXTS)
    )
    assert values(split, "words") == [["the", "cat", "sat"], ["the", "the", "dog"], None, []]
    counts = CountVectorizer(["text"], tokenization_fn=str.split).fit_transform(table(text=TEXTS))
    assert [int(np.sum(row)) for row in values(counts, "text")] == [3, 3, 0, 0]
    with pytest.raises(ValueError, match="no token in any row"):
        CountVectorizer(["text"], tokenization_fn=str.split).fit(table(text=["", " "]))
    with pytest.raises(TypeError, match="'x' must be of text, not of int64"):
        Tokenizer(["x"]).transform(table(x=[1])).take_all()


def test_hashes_say_where_tokens_and_columns_are_counted() -> None:
    made = HashingVectorizer(["text"], num_features=16).transform(table(text=["the the cat"]))
    expected = np.zeros(16)
    for word in ("the", "the", "cat"):
        expected[simple_hash(word, 16)] += 1
    assert np.array_equal(values(made, "text")[0], expected)
    hashed = FeatureHasher(["a", "b"], num_features=4, output_column="h").transform(table(a=[2], b=[5.0]))
    sums = np.zeros(4)
    sums[simple_hash("a", 4)] += 2
    sums[simple_hash("b", 4)] += 5
    assert np.array_equal(values(hashed, "h")[0], sums)


def test_concatenator_makes_vectors() -> None:
    dataset = table(a=[1, 2], b=[0.5, None], v=[[1, 2], [3, 4]])
    made = Concatenator(["b", "a"], dtype=np.float32).transform(dataset)
    assert made.schema().names == ["v", "concat_out"]
    np.testing.assert_array_equal(
        np.stack(values(made, "concat_out")), np.array([[0.5, 1], [np.nan, 2]], dtype=np.float32)
    )
    flat = Concatenator(["a", "v"], output_column_name="f", flatten=True).transform(dataset)
    assert np.array_equal(np.stack(values(flat, "f")), [[1, 1, 2], [2, 3, 4]])
    with pytest.raises(ValueError, match=r"'v' is of vectors.*flatten=True"):
        Concatenator(["a", "v"]).transform(dataset).take_all()
    with pytest.raises(ValueError, match=r"of one length.*1, 2"):
        Concatenator(["v"], flatten=True).transform_batch(pa.table({"v": [[1], [1, 2]]}))
    with pytest.raises(KeyError, match="no column 'z'"):
        Concatenator(["a", "z"], raise_if_missing=True).transform(dataset).take_all()
    assert Concatenator(["a", "z"]).transform(dataset).schema().names == ["b", "v", "concat_out"]


def test_transforms_of_images_one_by_one_and_batched() -> None:
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    dataset = shoal.data.from_numpy(images)
    for batched, axes in ((False, (2, 0, 1)), (True, (0, 3, 1, 2))):
        step = TorchVisionPreprocessor(
            ["data"], lambda each, axes=axes: each.transpose(axes) / 255, batched=batched
        )
        made = np.stack(values(step.transform(dataset), "data"))
        np.testing.assert_allclose(made, images.transpose(0, 3, 1, 2) / 255)
    with pytest.raises(TypeError, match="must return a tensor or an array, not"):
        TorchVisionPreprocessor(["data"], lambda image: "picture").transform(dataset).take_all()


def test_transforms_of_torch() -> None:
    torch = pytest.importorskip("torch")
    images = shoal.data.from_numpy(np.ones((2, 4, 4, 3), dtype=np.uint8))
    step = TorchVisionPreprocessor(["data"], lambda image: torch.as_tensor(image).permute(2, 0, 1).float())
    assert np.stack(values(step.transform(images), "data")).shape == (2, 3, 4, 4)


def test_a_chain_fits_each_on_what_the_one_before_makes() -> None:
    chain = Chain(SimpleImputer(["hue"]), StandardScaler(["hue"]), Concatenator(["hue", "alcohol"]))
    assert chain.fit_status() is Preprocessor.FitStatus.NOT_FITTED
    made = chain.fit_transform(wines())
    filled = SklearnImputer().fit_transform(wine()[["hue"]])
    hue = preprocessing.StandardScaler().fit_transform(filled)[:, 0]
    np.testing.assert_allclose(np.stack(values(made, "concat_out"))[:, 0], hue)
    assert chain.fit_status() is Preprocessor.FitStatus.FITTED
    assert chain.get_input_columns() == ["hue", "alcohol"]
    batch = chain.transform_batch(wine())
    np.testing.assert_allclose(np.stack(batch["concat_out"])[:, 0], hue)
    half = Chain(StandardScaler(["hue"]).fit(wines()), MinMaxScaler(["hue"]))
    assert half.fit_status() is Preprocessor.FitStatus.PARTIALLY_FITTED
    with pytest.raises(PreprocessorNotFittedException):
        half.transform(wines())


def test_one_pass_over_the_dataset_learns_all_columns(tmp_path: Any) -> None:
    def logged(batch: dict[str, Any]) -> dict[str, Any]:
        (tmp_path / os.urandom(8).hex()).touch()
        return batch

    dataset = shoal.data.range(100, override_num_blocks=4).map_batches(logged)
    dataset = dataset.map_batches(lambda batch: {"a": batch["id"], "b": batch["id"] * 2.0})
    StandardScaler(["a", "b"]).fit(dataset)
    assert len(list(tmp_path.iterdir())) == 4


def test_batches_come_back_in_the_format_that_they_came_in() -> None:
    scaler = MinMaxScaler(["x"]).fit(table(x=[0.0, 4.0]))
    frame = scaler.transform_batch(pd.DataFrame({"x": [1.0, 2.0]}, index=[7, 9]))
    assert frame["x"].to_dict() == {7: 0.25, 9: 0.5}
    assert scaler.transform_batch({"x": np.array([1.0])})["x"].tolist() == [0.25]
    assert scaler.transform_batch(pa.table({"x": [1.0]})).to_pydict() == {"x": [0.25]}
    with pytest.raises(TypeError, match="a batch is a pandas"):
        scaler.transform_batch([1.0])


def test_new_columns_leave_the_old_ones() -> None:
    scaler = MinMaxScaler(["x"], output_columns=["scaled"])
    assert scaler.fit_transform(table(x=[0, 4])).take_all() == [
        {"x": 0, "scaled": 0.0},
        {"x": 4, "scaled": 1.0},
    ]
    assert scaler.get_output_columns() == ["scaled"]
    with pytest.raises(ValueError, match="a name for each of columns: 1"):
        MinMaxScaler(["x"], output_columns=["a", "b"])


def test_wrong_use_says_what_is_wrong() -> None:
    scaler = StandardScaler(["x"])
    with pytest.raises(PreprocessorNotFittedException, match=r"StandardScaler\(columns=\['x'\].*fit\(ds\)"):
        scaler.transform(table(x=[1]))
    with pytest.raises(ValueError, match="the dataset has no rows"):
        scaler.fit(table(x=pa.array([], pa.float64())))
    with pytest.raises(TypeError, match="'x' must be of numbers, not of string"):
        scaler.fit(table(x=["a"]))
    with pytest.raises(KeyError, match="no column 'x'; there are y"):
        scaler.fit(table(y=[1]))
    with pytest.raises(TypeError, match="a Dataset is needed"):
        scaler.fit(wine())
    assert not scaler.has_stats()
    fitted = scaler.fit(table(x=[1.0, 3.0]))
    assert fitted.transform(table(x=pa.array([], pa.float64()))).count() == 0
    assert values(fitted.transform(table(x=[None, 3.0])), "x") == [None, 1.0]


def test_a_column_without_numbers_stays_null() -> None:
    nothing = table(x=pa.nulls(3, pa.float64()))
    for make in (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler):
        assert values(make(["x"]).fit_transform(nothing), "x") == [None] * 3
    assert values(UniformKBinsDiscretizer(["x"], bins=2).fit_transform(nothing), "x") == [None] * 3


class Center(Preprocessor):
    """One of a user's own."""

    def _fit(self, dataset: Any) -> Any:
        self.stat_computation_plan.add_aggregator(aggregator_fn=Mean, columns=["x"])
        return self

    def _transform_pandas(self, df: Any) -> Any:
        return df.assign(x=df["x"] - self.stats_["mean(x)"])


class Doubled(SerializablePreprocessorBase):
    """One of a user's own with versions."""

    _is_fittable = False

    def __init__(self) -> None:
        self.factor = 2

    def _transform_numpy(self, batch: Any) -> Any:
        return {"x": batch["x"] * self.factor}

    @classmethod
    def _upgraded(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        return {"factor": state["factor"] * 10} if version < 2 else state


def test_preprocessors_of_ones_own() -> None:
    center = Center()
    assert values(center.fit_transform(table(x=[1.0, 3.0])), "x") == [-1.0, 1.0]
    assert values(Chain(center, Doubled()).transform(table(x=[1.0, 3.0])), "x") == [-2.0, 2.0]
    again = Preprocessor.deserialize(center.serialize())
    assert again.transform_batch({"x": np.array([3.0])})["x"].tolist() == [1.0]

    class Neither(Preprocessor):
        _is_fittable = False

    with pytest.raises(NotImplementedError, match=r"exactly one of the methods _transform_arrow.*none"):
        Neither().transform(table(x=[1]))


def every_kind() -> list[Preprocessor]:
    return [
        StandardScaler(["x"]),
        RobustScaler(["x"]),
        OneHotEncoder(["color"]),
        MultiHotEncoder(["color"]),
        OrdinalEncoder(["color"]),
        LabelEncoder("color"),
        Categorizer(["color"]),
        SimpleImputer(["x"], strategy="most_frequent"),
        UniformKBinsDiscretizer(["x"], bins=2),
        CountVectorizer(["color"]),
        Chain(MinMaxScaler(["x"]), MaxAbsScaler(["x"])),
    ]


@pytest.mark.parametrize("step", every_kind(), ids=lambda step: type(step).__name__)
def test_what_was_learned_survives_serialisation(step: Preprocessor) -> None:
    dataset = table(x=[1.0, 2.0, 4.0], color=COLORS[:3])
    expected = step.fit_transform(dataset).to_arrow_refs()
    text = PickleSerializationHandler().serialize(step)
    for again in (
        Preprocessor.deserialize(step.serialize()),
        Preprocessor.deserialize(text),
        pickle.loads(pickle.dumps(step)),
    ):
        assert repr(again) == repr(step)
        made = again.transform(dataset).to_arrow_refs()
        assert [shoal.get(ref).to_pydict() for ref in made] == [
            shoal.get(ref).to_pydict() for ref in expected
        ]


def test_what_cannot_be_read_says_why() -> None:
    data = Doubled().serialize()
    Doubled.set_version(2)
    try:
        upgraded = Preprocessor.deserialize(data)
        assert isinstance(upgraded, Doubled)
        assert upgraded.factor == 20
        newer = upgraded.serialize()
    finally:
        Doubled.set_version(1)
    with pytest.raises(ValueError, match="of version 2, and 1 is the newest"):
        Preprocessor.deserialize(newer)
    for broken, why in (
        (b"", "must begin with"),
        (b"nonsense", "must begin with"),
        (data[:20], "cannot be read"),
    ):
        with pytest.raises(ValueError, match=why):
            Preprocessor.deserialize(broken)
    with pytest.raises(ValueError, match="no pickle in base64"):
        Preprocessor.deserialize("no base64!")
    payload = {"format": 1, "type": "Gone", "version": 1, "state": {}}
    with pytest.raises(UnknownPreprocessorError, match="no preprocessor is called 'Gone'") as caught:
        Preprocessor.deserialize(CloudPickleSerializationHandler().serialize(payload))
    assert pickle.loads(pickle.dumps(caught.value)).preprocessor_type == "Gone"
