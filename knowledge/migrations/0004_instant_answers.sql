-- Rows of FAQs and glossaries, found by what they answer (knowledge/instant_rows.py). Mined from the document's text and
-- written, replaced and removed with it.
CREATE TABLE instant_answers (
    generation_id int NOT NULL REFERENCES generations ON DELETE CASCADE,
    document_id   uuid NOT NULL,
    ordinal       int NOT NULL,           -- of the row in the document
    language      text NOT NULL,          -- of question and answer: a glossary's row has an entry a language
    collection_id int NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('faq', 'term')),
    name          text COLLATE "C" NOT NULL,    -- the row's first key: what its views are counted under
    title         text NOT NULL,          -- the question or the term, as written
    answer        text NOT NULL,
    keys          text[] COLLATE "C" NOT NULL,  -- knowledge/instant_keys.py
    term_ids      int[] NOT NULL,         -- of a FAQ's chunk, to find the question in other words; {} of a term
    chunks        int[] NOT NULL,         -- ordinals of the chunks in which the row stands
    PRIMARY KEY (generation_id, document_id, ordinal, language)
);
CREATE INDEX instant_answers_keys ON instant_answers USING gin (keys) WITH (fastupdate = off);
CREATE INDEX instant_answers_terms ON instant_answers USING gin (term_ids) WITH (fastupdate = off);

-- How often each was shown. Of no generation: the counts outlive every rebuilding of the index.
CREATE TABLE instant_views (
    collection_id int NOT NULL REFERENCES collections,
    kind          text NOT NULL,
    name          text COLLATE "C" NOT NULL,
    views         bigint NOT NULL,
    viewed_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection_id, kind, name)
);
