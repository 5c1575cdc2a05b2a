-- Two names of one thing that a document gives side by side, one row a direction: a question with one finds the other.
-- Mined from the document's text (knowledge/pairs.py) and written, replaced and removed with it.
CREATE TABLE term_pairs (
    generation_id int NOT NULL REFERENCES generations ON DELETE CASCADE,
    document_id   uuid NOT NULL,
    key           text COLLATE "C" NOT NULL,  -- the one name, folded: no spaces, signs, capitals, English endings
    other         text NOT NULL               -- the other one, as it stands in the text
);
CREATE INDEX term_pairs_key ON term_pairs (generation_id, key);
CREATE INDEX term_pairs_document ON term_pairs (generation_id, document_id);
