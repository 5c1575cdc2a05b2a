-- The parts of a chunk that quote mode chooses from, with the words of each, packed (knowledge/quote_words.py). NULL: stored
-- before this column was; they are found anew at each question, with the same result.
ALTER TABLE chunks ADD sentences bytea;
