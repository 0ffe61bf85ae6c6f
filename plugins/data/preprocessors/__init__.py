"""Preprocessors: what is learned of a dataset once and then done to datasets and batches alike."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.data.preprocessors.chain import Chain
    from shoal.data.preprocessors.concatenator import Concatenator
    from shoal.data.preprocessors.discretizer import CustomKBinsDiscretizer, UniformKBinsDiscretizer
    from shoal.data.preprocessors.encoder import (
        Categorizer,
        LabelEncoder,
        MultiHotEncoder,
        OneHotEncoder,
        OrdinalEncoder,
    )
    from shoal.data.preprocessors.hasher import FeatureHasher
    from shoal.data.preprocessors.imputer import SimpleImputer
    from shoal.data.preprocessors.normalizer import Normalizer
    from shoal.data.preprocessors.scaler import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
    from shoal.data.preprocessors.tokenizer import Tokenizer
    from shoal.data.preprocessors.torch import TorchVisionPreprocessor
    from shoal.data.preprocessors.transformer import PowerTransformer
    from shoal.data.preprocessors.vectorizer import CountVectorizer, HashingVectorizer

__all__ = [
    "Categorizer",
    "Chain",
    "Concatenator",
    "CountVectorizer",
    "CustomKBinsDiscretizer",
    "FeatureHasher",
    "HashingVectorizer",
    "LabelEncoder",
    "MaxAbsScaler",
    "MinMaxScaler",
    "MultiHotEncoder",
    "Normalizer",
    "OneHotEncoder",
    "OrdinalEncoder",
    "PowerTransformer",
    "RobustScaler",
    "SimpleImputer",
    "StandardScaler",
    "Tokenizer",
    "TorchVisionPreprocessor",
    "UniformKBinsDiscretizer",
]

_HOMES = {
    "chain": ("Chain",),
    "concatenator": ("Concatenator",),
    "discretizer": ("CustomKBinsDiscretizer", "UniformKBinsDiscretizer"),
    "encoder": ("Categorizer", "LabelEncoder", "MultiHotEncoder", "OneHotEncoder", "OrdinalEncoder"),
    "hasher": ("FeatureHasher",),
    "imputer": ("SimpleImputer",),
    "normalizer": ("Normalizer",),
    "scaler": ("MaxAbsScaler", "MinMaxScaler", "RobustScaler", "StandardScaler"),
    "tokenizer": ("Tokenizer",),
    "torch": ("TorchVisionPreprocessor",),
    "transformer": ("PowerTransformer",),
    "vectorizer": ("CountVectorizer", "HashingVectorizer"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'shoal.data.preprocessors' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"shoal.data.preprocessors.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
