-- +goose Up

-- The last sequence number. Every writer locks this row first, so that changes
-- become visible in the order of their numbers and no follower skips one.
CREATE TABLE log_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint NOT NULL
);
INSERT INTO log_head (seq) VALUES (0);

-- Current claims and tombstones: data is store.Record.
CREATE TABLE records (
    kind     text   COLLATE "C" NOT NULL,
    key      text   COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    data     json   NOT NULL,
    PRIMARY KEY (kind, key)
);

-- The audit log: data is store.Change. Rows are never changed.
CREATE TABLE changes (
    seq  bigint PRIMARY KEY,
    data json   NOT NULL
);

-- Nonces of signed requests, and until when they are remembered, Unix milliseconds.
CREATE TABLE nonces (
    nonce      text   COLLATE "C" PRIMARY KEY,
    until_msec bigint NOT NULL
);
CREATE INDEX nonces_until ON nonces (until_msec);

CREATE TABLE named_values (
    name  text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);
