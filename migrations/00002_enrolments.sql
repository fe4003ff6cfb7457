-- +goose Up

-- How many devices took credentials with a token, and until when that is
-- remembered, Unix milliseconds.
CREATE TABLE tokens (
    token      text   COLLATE "C" PRIMARY KEY,
    uses       int    NOT NULL,
    until_msec bigint NOT NULL
);
CREATE INDEX tokens_until ON tokens (until_msec);

-- Which devices these are, and the public keys that they showed.
CREATE TABLE token_devices (
    token  text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    key    text NOT NULL,
    PRIMARY KEY (token, device)
);
