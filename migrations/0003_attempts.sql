-- Jobs and events under the names that the code uses.

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
