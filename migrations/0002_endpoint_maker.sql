-- An endpoint answers with models that are uploaded long after it was made, so whether it may read one cannot be known
-- when it is made.

ALTER TABLE endpoint ADD COLUMN
    -- The unique id of the principal who made the endpoint or took it over, as AWS keeps an execution role with one: the
    -- policies of that principal are asked whether the endpoint may read a model. An id and not a name, since names are
    -- used again. Points at no row on purpose: a maker who is gone stays known as gone, and takes no endpoint along.
    -- NULL: made before this column. Nobody knows by whom, so such an endpoint goes on as before, with what was asked
    -- when it was made; making it once more with the same configuration gives it a maker.
    maker TEXT;
