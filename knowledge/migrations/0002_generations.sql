-- One database holds several generations of the index, so that another embedding or chunker can be prepared while the
-- active one answers (see knowledge/generations.py), and the state of every file that ingestion was told of.

CREATE TABLE generations (
    id         int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state      text NOT NULL CHECK (state IN ('active', 'building', 'previous')),
    embedding  jsonb NOT NULL,            -- name, dimension, prefixes: what makes vectors comparable
    lexemes    text NOT NULL,             -- version of the words
    chunking   text NOT NULL,             -- version of the chunker and its size
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX generations_one_active ON generations (state) WHERE state = 'active';
INSERT INTO generations (state, embedding, lexemes, chunking, created_at)
SELECT 'active', embedding, lexemes,
       coalesce((SELECT max(regexp_replace(chunking, '^reading \d+, ', 'chunker 1, ')) FROM documents),
                'chunker 1, 256 tokens'),
       created_at
FROM index_manifest;
DROP TABLE index_manifest;

ALTER TABLE chunks RENAME TO chunks_before;
ALTER TABLE chunks_before DROP CONSTRAINT chunks_document_id_fkey;

ALTER TABLE documents
    ADD generation_id int REFERENCES generations,
    ADD blocks jsonb,                     -- structure of the text, to chunk it again; NULL: stored before this column was
    DROP CONSTRAINT documents_pkey,
    DROP CONSTRAINT documents_collection_id_path_key;
ALTER TABLE documents RENAME chunking TO reading;  -- version of the readers: a change reads the file again
UPDATE documents SET generation_id = (SELECT id FROM generations), reading = regexp_replace(reading, ',.*', '');
ALTER TABLE documents
    ALTER generation_id SET NOT NULL,
    ADD PRIMARY KEY (generation_id, id),
    ADD UNIQUE (generation_id, collection_id, path);

-- A partition a generation, made and dropped whole, each with search indexes of its own (knowledge/generations.py),
-- which are built when it has been filled.
CREATE TABLE chunks (
    generation_id int NOT NULL,
    id            uuid NOT NULL,
    document_id   uuid NOT NULL,
    collection_id int NOT NULL,
    ordinal       int NOT NULL,
    start_char    int NOT NULL,           -- documents.text from start_char (0-based) to end_char is chunks.text
    end_char      int NOT NULL,
    text          text NOT NULL,
    heading       text[] NOT NULL,
    place         jsonb NOT NULL,
    table_header  text NOT NULL,          -- of the table that the chunk begins in the middle of
    language      text NOT NULL,
    embedding     halfvec NOT NULL,       -- L2-normalised
    term_ids      int[] NOT NULL,         -- hashes of the lexemes, ascending: candidates come from the GIN index
    term_weights  sparsevec NOT NULL,     -- BM25's term-frequency part at index term_id: scores come from <#>
    PRIMARY KEY (generation_id, id),
    UNIQUE (generation_id, document_id, ordinal)  -- no foreign key: checking it took a third of the time to store a chunk
) PARTITION BY LIST (generation_id);

DO $$
DECLARE
    current record;
BEGIN
    FOR current IN SELECT id, (embedding ->> 'dimension')::int AS dimension FROM generations LOOP
        EXECUTE format('CREATE TABLE chunks_%s PARTITION OF chunks FOR VALUES IN (%s) WITH (toast_tuple_target = 8160)',
                       current.id, current.id);
        EXECUTE format(
            'INSERT INTO chunks SELECT %s, id, document_id, collection_id, ordinal, start_char, end_char, text, heading, '
            'place, '''', language, embedding, term_ids, term_weights FROM chunks_before', current.id);
        EXECUTE format(
            'CREATE INDEX chunks_%s_embedding ON chunks_%s USING hnsw ((embedding::halfvec(%s)) halfvec_ip_ops)',
            current.id, current.id, current.dimension);
        EXECUTE format(
            'CREATE INDEX chunks_%s_terms ON chunks_%s USING gin (term_ids) WITH (fastupdate = off)',
            current.id, current.id);
    END LOOP;
END $$;
DROP TABLE chunks_before;

-- How many chunks a generation has. Changes of this and of term_counts wait in count_changes until they are added up,
-- at the end of a run at the latest: adding each to thousands of counts took longer than storing the document.
CREATE TABLE chunk_counts (
    generation_id int NOT NULL REFERENCES generations,
    collection_id int NOT NULL REFERENCES collections,
    chunks        bigint NOT NULL,
    PRIMARY KEY (generation_id, collection_id)
);
INSERT INTO chunk_counts SELECT g.id, c.id, c.chunks FROM generations g CROSS JOIN collections c;
ALTER TABLE collections DROP chunks;

ALTER TABLE term_counts ADD generation_id int REFERENCES generations, DROP CONSTRAINT term_counts_pkey;
UPDATE term_counts SET generation_id = (SELECT id FROM generations);
ALTER TABLE term_counts ALTER generation_id SET NOT NULL, ADD PRIMARY KEY (generation_id, collection_id, term_id);
-- A term's id is a hash of it now (knowledge/terms.py), the same in every database. The words of an index that is
-- older have another version, so that it is built anew before it is used.
DROP TABLE terms;
ALTER TABLE documents ALTER text SET STORAGE EXTERNAL, ALTER blocks SET STORAGE EXTERNAL;  -- packing took longer

CREATE TABLE count_changes (
    generation_id int NOT NULL REFERENCES generations,
    collection_id int NOT NULL REFERENCES collections,
    chunks        int NOT NULL,
    term_ids      int[] NOT NULL,
    deltas        int[] NOT NULL         -- by how many chunks the count of the term beside it changed
);

-- What became of each file, true from any machine: written before and after the work, "stored" with the document.
CREATE TABLE files (
    collection_id int NOT NULL REFERENCES collections,
    path          text NOT NULL,          -- the document's path; a file inside an archive is archive/member
    origin        text NOT NULL,          -- absolute path on `host`
    root          text NOT NULL,          -- the folder that was given, below which `path` counts
    host          text NOT NULL,
    state         text NOT NULL CHECK (state IN ('queued', 'reading', 'stored', 'failed')),
    reason        text NOT NULL DEFAULT '',
    error         text NOT NULL DEFAULT '',
    content_hash  text NOT NULL DEFAULT '',
    reading       text NOT NULL DEFAULT '',
    size_bytes    bigint NOT NULL DEFAULT 0,
    modified_ns   bigint NOT NULL DEFAULT 0,
    run           bigint NOT NULL,        -- advisory lock that the run holds: it lives as long as the lock is held
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection_id, path)
);
CREATE INDEX files_unfinished ON files (state) WHERE state <> 'stored';
INSERT INTO files (collection_id, path, origin, root, host, state, content_hash, reading, size_bytes, run)
SELECT collection_id, path, origin, left(origin, greatest(length(origin) - length(path) - 1, 1)), '', 'stored', content_hash,
       reading, size_bytes, 0
FROM documents;
