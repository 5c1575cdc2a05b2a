"""Evidence as a LlamaIndex node."""

from __future__ import annotations

from llama_index.core.schema import TextNode

from knowledge.types import Evidence


def to_node(evidence: Evidence) -> TextNode:
    """A chunk as LlamaIndex sees it: its id, its text, and where it stands."""
    metadata = {
        "document": evidence.path,
        "collection": evidence.collection,
        "title": evidence.title,
        "heading": " › ".join(evidence.heading),
        **evidence.place.to_dict(),
    }
    return TextNode(id_=evidence.chunk_id, text=evidence.text, metadata=metadata)
