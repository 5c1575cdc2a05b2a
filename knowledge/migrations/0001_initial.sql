-- Documents, chunks and the two search legs (meaning, words) of one index.
CREATE EXTENSION IF NOT EXISTS vector;

-- What the index was built with. A start with anything else is refused: see knowledge/manifest.py.
CREATE TABLE index_manifest (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    embedding  jsonb NOT NULL,
    lexemes    text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Counts are kept by the transaction that changes a document; BM25's IDF needs them exact.
CREATE TABLE collections (
    id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name   text NOT NULL UNIQUE,
    chunks bigint NOT NULL DEFAULT 0
);

CREATE TABLE documents (
    id            uuid PRIMARY KEY,
    collection_id int NOT NULL REFERENCES collections,
    path          text NOT NULL,
    origin        text NOT NULL,          -- absolute path of the file when it was read
    content_hash  text NOT NULL,
    chunking      text NOT NULL,          -- chunker version and size: a change re-reads the file
    size_bytes    bigint NOT NULL,
    title         text NOT NULL,
    language      text NOT NULL,
    text          text NOT NULL,
    ingested_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection_id, path)
);

CREATE TABLE chunks (
    id            uuid PRIMARY KEY,
    document_id   uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
    collection_id int NOT NULL,
    ordinal       int NOT NULL,
    start_char    int NOT NULL,           -- documents.text from start_char (0-based) to end_char is chunks.text
    end_char      int NOT NULL,
    text          text NOT NULL,
    heading       text[] NOT NULL,
    place         jsonb NOT NULL,
    language      text NOT NULL,
    embedding     halfvec NOT NULL,       -- L2-normalised; its dimension stands in the manifest and the HNSW index
    term_ids      int[] NOT NULL,         -- which lexemes: candidates come from the GIN index
    term_weights  sparsevec NOT NULL,     -- BM25's term-frequency part at index term_id: scores come from <#>
    UNIQUE (document_id, ordinal)
);
CREATE INDEX chunks_collection ON chunks (collection_id);
CREATE INDEX chunks_term_ids ON chunks USING gin (term_ids) WITH (fastupdate = off);

CREATE TABLE terms (
    id   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    term text COLLATE "C" NOT NULL UNIQUE
);

-- In how many chunks of a collection a term stands (BM25's document frequency).
CREATE TABLE term_counts (
    collection_id int NOT NULL REFERENCES collections,
    term_id       int NOT NULL,
    chunks        bigint NOT NULL,
    PRIMARY KEY (collection_id, term_id)
);

-- Small facts that all app processes must share, such as the key that signs cookies.
CREATE TABLE app_state (
    key   text PRIMARY KEY,
    value text NOT NULL
);
