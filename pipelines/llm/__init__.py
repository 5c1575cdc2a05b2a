"""The language model: any OpenAI-compatible chat server, vLLM first, as a LlamaIndex LLM.

    llm = connect(base_url="http://127.0.0.1:8001/v1", model="", api_key="", temperature=0.1, max_tokens=1024,
                  timeouts=Timeouts())
    stream = await llm.astream_chat(messages)

Every failure is one of `LLMUnavailable`, `LLMRejected` or `LLMInterrupted` (knowledge.errors).
"""

from pipelines.llm.chat import VllmChat, connect
from pipelines.llm.server import ServerInfo, Timeouts

__all__ = ["ServerInfo", "Timeouts", "VllmChat", "connect"]
