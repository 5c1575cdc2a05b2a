"""The fake vLLM as a process of its own, to be killed; its answers are long, cite, and name the question they are to.

python -m tests.faults.llm_process PORT
"""

from __future__ import annotations

import re
import sys
import threading
from typing import Any

from tests.fakes.vllm import FakeVllm, Reply

QUESTION = "환율이 떨어지면 옥수수 수입 원가가 어떻게 되나요? (물음 {})"
_NAMED = re.compile(r"\(물음 (\w+)\)")
PASSAGE = "환율이 떨어지면 같은 달러 가격의 옥수수 수입 원가가 원화로 내려간다"


def answer_to(name: str) -> str:
    """What the model says to the question of this name: two dozen sentences, each with footnotes."""
    return " ".join(f"물음 {name}의 답 {n}번 문장은 원화 원가가 내려간다는 것입니다 [1][2]." for n in range(24))


def said(body: dict[str, Any]) -> str:
    """The answer, where passages were sent along; of a follow-up that is to be written anew, the question itself."""
    prompt = body["messages"][-1]["content"]
    name = _NAMED.findall(prompt)[-1]
    return answer_to(name) if PASSAGE in prompt else QUESTION.format(name)


LONG = Reply(said, piece_chars=8, delay_s=0.01)


if __name__ == "__main__":
    with FakeVllm(port=int(sys.argv[1])) as server:
        server.always(LONG)
        print(server.base_url, flush=True)
        threading.Event().wait()
