"""Rows through language models and embedders: templates, tokens, an engine in this cluster or a server's HTTP API."""

from shoal.data.llm.config import (
    ChatTemplateStageConfig,
    DetokenizeStageConfig,
    EngineProcessorConfig,
    HttpRequestProcessorConfig,
    HttpRequestStageConfig,
    ProcessorConfig,
    TokenizerStageConfig,
)
from shoal.data.llm.engine import Engine
from shoal.data.llm.processor import Processor, Stage, build_llm_processor, build_processor

__all__ = [
    "ChatTemplateStageConfig",
    "DetokenizeStageConfig",
    "Engine",
    "EngineProcessorConfig",
    "HttpRequestProcessorConfig",
    "HttpRequestStageConfig",
    "Processor",
    "ProcessorConfig",
    "Stage",
    "TokenizerStageConfig",
    "build_llm_processor",
    "build_processor",
]
