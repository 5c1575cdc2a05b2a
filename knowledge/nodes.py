"""Evidence as a LlamaIndex node."""

from __future__ import annotations

from pathlib import PurePosixPath

from llama_index.core.schema import NodeRelationship, ObjectType, RelatedNodeInfo, TextNode

from knowledge.types import Evidence

# To filter and to link by, not to read: they stay out of prompts.
_NOT_READ = ["document_id", "path", "type", "language"]


def to_node(evidence: Evidence) -> TextNode:
    """A chunk as LlamaIndex sees it: its id, its text, and where it stands. Its source is its document."""
    metadata = {
        "document": evidence.path,
        "collection": evidence.collection,
        "title": evidence.title,
        "heading": " › ".join(evidence.heading),
        **evidence.place.to_dict(),
        "document_id": evidence.document_id,
        "path": evidence.path,
        "type": PurePosixPath(evidence.path).suffix.lstrip(".").lower(),
        "language": evidence.language,
    }
    return TextNode(
        id_=evidence.chunk_id,
        text=evidence.text,
        metadata=metadata,
        excluded_embed_metadata_keys=_NOT_READ.copy(),
        excluded_llm_metadata_keys=_NOT_READ.copy(),
        start_char_idx=evidence.start,
        end_char_idx=evidence.end,
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id=evidence.document_id, node_type=ObjectType.DOCUMENT)
        },
    )
