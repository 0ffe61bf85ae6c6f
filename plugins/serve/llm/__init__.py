"""Language models as services with routes as OpenAI has them, over an engine that is a plugin."""

from shoal.serve.llm.app import LLMServer, OpenAiIngress, build_llm_deployment, build_openai_app
from shoal.serve.llm.config import LLMConfig, ModelLoadingConfig
from shoal.serve.llm.engine import Engine, Piece, Sampling

__all__ = [
    "Engine",
    "LLMConfig",
    "LLMServer",
    "ModelLoadingConfig",
    "OpenAiIngress",
    "Piece",
    "Sampling",
    "build_llm_deployment",
    "build_openai_app",
]
