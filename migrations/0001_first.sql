-- The whole of a Rookery file. Times are seconds since 1970. Forward only: a later migration alters, never edits this.

-- Facts about the file itself.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Counts the writes that change what is kept in memory, so that another process sees which of its snapshots is old.
CREATE TABLE epoch (
    noun  TEXT PRIMARY KEY CHECK (noun IN ('access', 'models')),
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO epoch VALUES ('access', 0), ('models', 0);

-- Bytes in 1 MiB pieces: as one value, 300 MiB read in seconds and bloat the log.
CREATE TABLE blob (
    -- Never used again: a load that waited may still hold the id of a blob that is gone.
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    bytes      INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    -- Set in the transaction that makes something point here. Rows without it are uploads under way, or the
    -- remains of one that died.
    ready      INTEGER NOT NULL DEFAULT 0 CHECK (ready IN (0, 1)),
    -- When the latest piece came; an upload that has been silent long enough is swept.
    touched_at INTEGER NOT NULL
) STRICT;
CREATE INDEX blob_staged ON blob (touched_at) WHERE ready = 0;

CREATE TABLE chunk (
    blob INTEGER NOT NULL REFERENCES blob (id) ON DELETE CASCADE,
    seq  INTEGER NOT NULL CHECK (seq >= 0),
    data BLOB    NOT NULL CHECK (length(data) BETWEEN 1 AND 1048576),
    PRIMARY KEY (blob, seq)
) STRICT;

-- An immutable artifact, named by its content. Several paths may point at one.
CREATE TABLE version (
    sha256          BLOB PRIMARY KEY CHECK (length(sha256) = 32),
    artifact        INTEGER NOT NULL REFERENCES blob (id) ON DELETE RESTRICT,
    -- Derived from the artifact; made again when the build reads another format number.
    prepared        INTEGER NOT NULL REFERENCES blob (id) ON DELETE RESTRICT,
    prepared_format INTEGER NOT NULL,
    -- Model format, and what is shown of it without loading it (JSON).
    format          TEXT    NOT NULL,
    summary         TEXT    NOT NULL CHECK (json_valid(summary)),
    -- Bytes when loaded, so that room is made before the load.
    weight          INTEGER NOT NULL CHECK (weight >= 0),
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX version_artifact ON version (artifact);
CREATE INDEX version_prepared ON version (prepared);

CREATE TABLE model (
    path       TEXT PRIMARY KEY CHECK (length(path) BETWEEN 3 AND 1024),
    sha256     BLOB    NOT NULL REFERENCES version (sha256) ON DELETE RESTRICT,
    -- The number of the current entry in model_history.
    seq        INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX model_version ON model (sha256);

-- What a path has pointed at, for rollback; pruned to the latest few.
CREATE TABLE model_history (
    path         TEXT    NOT NULL REFERENCES model (path) ON DELETE CASCADE,
    seq          INTEGER NOT NULL,
    sha256       BLOB    NOT NULL REFERENCES version (sha256) ON DELETE RESTRICT,
    published_at INTEGER NOT NULL,
    published_by TEXT    NOT NULL,
    PRIMARY KEY (path, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX model_history_version ON model_history (sha256);

-- Kept loaded whatever else needs the room.
CREATE TABLE pin (
    path       TEXT PRIMARY KEY REFERENCES model (path) ON DELETE CASCADE,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was loaded when the server last looked, hottest first; loaded again after a restart.
CREATE TABLE hot (
    place  INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL REFERENCES version (sha256) ON DELETE CASCADE
) STRICT;
CREATE INDEX hot_version ON hot (sha256);

CREATE TABLE endpoint (
    -- AWS lower-cases endpoint names in ARNs, so two may not differ by case alone.
    name       TEXT PRIMARY KEY COLLATE NOCASE,
    -- Variants with their weights and stages (JSON).
    config     TEXT    NOT NULL CHECK (json_valid(config)),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Managed policies.
CREATE TABLE policy (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE COLLATE NOCASE,
    document   TEXT    NOT NULL,
    -- Counts the documents it has had.
    version    INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Whatever policies are attached to.
CREATE TABLE principal (
    -- Never used again: a sign-in under way may still hold the id of a user who is gone.
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT    NOT NULL CHECK (kind IN ('user', 'group', 'role')),
    name       TEXT    NOT NULL COLLATE NOCASE,
    -- Never used again, unlike names: aws:userid.
    unique_id  TEXT    NOT NULL UNIQUE,
    -- aws:PrincipalTag/*, a JSON object of text.
    tags       TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(tags)),
    -- Permission boundary. Removing the policy while it limits someone would widen them, so it is refused.
    boundary   INTEGER REFERENCES policy (id) ON DELETE RESTRICT,
    -- Roles: who may assume it.
    trust      TEXT CHECK ((kind = 'role') = (trust IS NOT NULL)),
    created_at INTEGER NOT NULL,
    UNIQUE (kind, name)
) STRICT;
CREATE INDEX principal_boundary ON principal (boundary);

CREATE TABLE user (
    id            INTEGER PRIMARY KEY REFERENCES principal (id) ON DELETE CASCADE,
    -- argon2id, PHC string; without one the user signs in with keys only.
    password_hash TEXT,
    disabled      INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    -- Tokens and sessions carry the number they were made under; a password change or disabling ends all older ones.
    generation    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE group_member (
    group_id INTEGER NOT NULL REFERENCES principal (id) ON DELETE CASCADE,
    user_id  INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_member_user ON group_member (user_id);

CREATE TABLE attachment (
    principal INTEGER NOT NULL REFERENCES principal (id) ON DELETE CASCADE,
    policy    INTEGER NOT NULL REFERENCES policy (id) ON DELETE RESTRICT,
    PRIMARY KEY (principal, policy)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachment_policy ON attachment (policy);

CREATE TABLE inline_policy (
    principal INTEGER NOT NULL REFERENCES principal (id) ON DELETE CASCADE,
    name      TEXT    NOT NULL COLLATE NOCASE,
    document  TEXT    NOT NULL,
    PRIMARY KEY (principal, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE key (
    -- The public part of the key.
    id          TEXT PRIMARY KEY,
    user_id     INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    -- api: a bearer key. aws: an access key, whose secret is derived from the master key and never kept.
    kind        TEXT    NOT NULL CHECK (kind IN ('api', 'aws')),
    -- api: the SHA-256 of the secret part.
    secret_hash BLOB CHECK (length(secret_hash) = 32),
    -- A policy that narrows what the user may do when this key is used.
    document    TEXT,
    disabled    INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    expires_at  INTEGER,
    created_at  INTEGER NOT NULL,
    CHECK ((kind = 'api') = (secret_hash IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX key_user ON key (user_id);

-- Signed-in browsers. The cookie's hash, never the cookie.
CREATE TABLE session (
    hash       BLOB PRIMARY KEY CHECK (length(hash) = 32),
    user_id    INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    csrf       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_user ON session (user_id);

-- Tokens ended before their time; forgotten once they would have expired anyway.
CREATE TABLE revoked_token (
    id         TEXT PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who changed what. Predictions are not written here: counters and the log have them.
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL,
    principal TEXT    NOT NULL,
    action    TEXT    NOT NULL,
    resource  TEXT    NOT NULL
) STRICT;
