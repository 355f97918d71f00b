-- The record of conversations. All text in it was masked before it came here.

CREATE TABLE threads (
    id text PRIMARY KEY,
    principal text NOT NULL,
    cluster_id text NOT NULL,
    cluster_name text NOT NULL,
    title text NOT NULL,
    domain text,
    focus jsonb NOT NULL DEFAULT '{}'::jsonb,
    turn_count integer NOT NULL DEFAULT 0,
    evidence_count integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX threads_by_principal ON threads (principal, updated_at DESC, id);

CREATE TABLE turns (
    id text PRIMARY KEY,
    thread_id text NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    number integer NOT NULL,
    schema_number integer NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'done', 'failed', 'cancelled')),
    -- the process that runs it, by the number of the advisory lock that it holds
    runner integer NOT NULL,
    cluster_id text NOT NULL,
    question text NOT NULL,
    answer text NOT NULL DEFAULT '',
    mode text,
    route jsonb,
    model text,
    usage jsonb,
    -- US dollars; NULL where no price is known, never 0 for unknown
    cost double precision,
    error jsonb,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    UNIQUE (thread_id, number)
);
CREATE INDEX turns_running ON turns (runner) WHERE status = 'running';

CREATE TABLE turn_events (
    turn_id text NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    sequence integer NOT NULL CHECK (sequence >= 1),
    type text NOT NULL,
    payload jsonb NOT NULL,
    PRIMARY KEY (turn_id, sequence)
);

CREATE TABLE evidence (
    thread_id text NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    number integer NOT NULL CHECK (number >= 1),
    turn_id text NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    payload jsonb NOT NULL,
    PRIMARY KEY (thread_id, number)
);
CREATE INDEX evidence_by_turn ON evidence (turn_id);
