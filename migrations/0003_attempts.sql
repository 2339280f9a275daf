-- Attempts and their history in tables of their own; jobs and events under the names that the code uses.
-- Instants are milliseconds since the Unix epoch, UTC.

-- One run of a task. The row of the attempt under way, or of the last one, is that of `tasks.attempt`.
-- Failure stages have no CHECK: their set grows.
CREATE TABLE attempts (
  task_id TEXT NOT NULL,
  attempt INTEGER NOT NULL CHECK (attempt >= 1),
  status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'success', 'failed', 'timed_out')),
  model TEXT,
  place TEXT,
  machine_id TEXT,
  started_at INTEGER,
  completed_at INTEGER,
  deadline_at INTEGER,
  seen_at INTEGER,
  progress INTEGER NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
  activity TEXT,
  branch TEXT,
  commit_sha TEXT,
  summary TEXT,
  error_message TEXT,
  failure_stage TEXT,
  failure_reason TEXT,
  input_tokens INTEGER,
  output_tokens INTEGER,
  cache_read_tokens INTEGER,
  cache_write_tokens INTEGER,
  cost_usd REAL,
  callback_attempts INTEGER,
  callback_max_attempts INTEGER,
  callback_last_http_code INTEGER,
  remarks TEXT NOT NULL DEFAULT '[]',
  PRIMARY KEY (task_id, attempt),
  FOREIGN KEY (task_id) REFERENCES tasks(id) ON DELETE CASCADE
) WITHOUT ROWID;

INSERT INTO attempts (task_id, attempt, status, model, place, machine_id, started_at, completed_at, deadline_at,
  seen_at, progress, activity, branch, commit_sha, summary, error_message, failure_stage, input_tokens,
  output_tokens, cost_usd, callback_attempts, callback_max_attempts, callback_last_http_code)
SELECT id, attempt, status, model,
  (SELECT fly_app FROM attempt_tokens WHERE task_id = tasks.id AND attempt_tokens.attempt = tasks.attempt),
  machine_id, started_at, completed_at, deadline_at, seen_at, progress, activity, branch, commit_sha, summary,
  error_message, failure_stage, input_tokens, output_tokens, cost_usd, callback_attempts, callback_max_attempts,
  callback_last_http_code
FROM tasks;

-- A retry used to overwrite the attempt before it in `tasks`; its status events have what is left of it.
INSERT INTO attempts (task_id, attempt, status, place, started_at, completed_at, error_message)
SELECT ended.task_id, ended.attempt, ended.data ->> 'status',
  (SELECT fly_app FROM attempt_tokens
     WHERE attempt_tokens.task_id = ended.task_id AND attempt_tokens.attempt = ended.attempt),
  (SELECT min(begun.at) FROM task_events AS begun
     WHERE begun.task_id = ended.task_id AND begun.attempt = ended.attempt
       AND begun.kind = 'status' AND begun.data ->> 'status' = 'running'),
  ended.at, ended.data ->> 'errorMessage'
FROM task_events AS ended JOIN tasks ON tasks.id = ended.task_id
WHERE ended.kind = 'status' AND ended.attempt < tasks.attempt
  AND ended.data ->> 'status' IN ('success', 'failed', 'timed_out')
ON CONFLICT DO NOTHING;

-- `completed_at` stays beside the attempt's: a CHECK and two indexes of `tasks` need it.
ALTER TABLE tasks DROP COLUMN machine_id;
ALTER TABLE tasks DROP COLUMN started_at;
ALTER TABLE tasks DROP COLUMN deadline_at;
ALTER TABLE tasks DROP COLUMN seen_at;
ALTER TABLE tasks DROP COLUMN progress;
ALTER TABLE tasks DROP COLUMN activity;
ALTER TABLE tasks DROP COLUMN branch;
ALTER TABLE tasks DROP COLUMN commit_sha;
ALTER TABLE tasks DROP COLUMN summary;
ALTER TABLE tasks DROP COLUMN error_message;
ALTER TABLE tasks DROP COLUMN failure_stage;
ALTER TABLE tasks DROP COLUMN input_tokens;
ALTER TABLE tasks DROP COLUMN output_tokens;
ALTER TABLE tasks DROP COLUMN cost_usd;
ALTER TABLE tasks DROP COLUMN callback_attempts;
ALTER TABLE tasks DROP COLUMN callback_max_attempts;
ALTER TABLE tasks DROP COLUMN callback_last_http_code;
ALTER TABLE attempt_tokens DROP COLUMN fly_app;

-- Events, without a CHECK on their kinds. A `log` line is now `output` with a text.
CREATE TABLE new_task_events (
  task_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  data TEXT NOT NULL,
  PRIMARY KEY (task_id, seq),
  FOREIGN KEY (task_id) REFERENCES tasks(id) ON DELETE CASCADE
) WITHOUT ROWID;

INSERT INTO new_task_events (task_id, seq, attempt, at, kind, data)
SELECT task_id, seq, attempt, at,
  CASE kind WHEN 'log' THEN 'output' ELSE kind END,
  CASE kind WHEN 'log' THEN json_object('text', data -> 'line') ELSE data END
FROM task_events;

DROP TABLE task_events;
ALTER TABLE new_task_events RENAME TO task_events;

-- Jobs, without a CHECK on their kinds. What was called `reflect` is now `sync_issue`.
CREATE TABLE new_jobs (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  key TEXT NOT NULL UNIQUE,
  lane TEXT NOT NULL,
  rank INTEGER NOT NULL,
  payload TEXT NOT NULL,
  run_at INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0,
  asked INTEGER NOT NULL DEFAULT 1,
  fence INTEGER NOT NULL DEFAULT 0,
  leased_until INTEGER,
  created_at INTEGER NOT NULL,
  last_error TEXT
);

INSERT INTO new_jobs (id, kind, key, lane, rank, payload, run_at, tries, asked, fence, leased_until, created_at,
  last_error)
SELECT id,
  CASE kind WHEN 'reflect' THEN 'sync_issue' ELSE kind END,
  CASE kind WHEN 'reflect' THEN 'sync_issue' || substr(key, length('reflect') + 1) ELSE key END,
  lane, rank,
  CASE WHEN kind = 'reflect' AND payload -> 'reflect' IS NOT NULL
    THEN json_object('sync_issue', payload -> 'reflect') ELSE payload END,
  run_at, tries, asked, fence, leased_until, created_at, last_error
FROM jobs;

DROP TABLE jobs;
ALTER TABLE new_jobs RENAME TO jobs;

CREATE INDEX jobs_by_lane ON jobs(lane, rank, run_at);
CREATE INDEX jobs_waiting ON jobs(run_at) WHERE leased_until IS NULL;
CREATE INDEX jobs_leased ON jobs(lane, leased_until) WHERE leased_until IS NOT NULL;
