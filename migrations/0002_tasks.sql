-- From a comment to a pull request. Instants are milliseconds since the Unix epoch, UTC.

CREATE TABLE tasks (
  id TEXT NOT NULL PRIMARY KEY,
  revision INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'success', 'failed', 'timed_out')),
  phase TEXT CHECK (phase IN ('launching', 'working', 'publishing')),
  attempt INTEGER NOT NULL CHECK (attempt >= 1),
  priority INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 3),
  agent TEXT NOT NULL,
  model TEXT,
  base_branch TEXT,
  base_settled INTEGER NOT NULL DEFAULT 0 CHECK (base_settled IN (0, 1)),
  repo_id INTEGER NOT NULL,
  repo_owner TEXT NOT NULL,
  repo_name TEXT NOT NULL,
  default_branch TEXT NOT NULL,
  installation_id INTEGER NOT NULL,
  issue_number INTEGER NOT NULL,
  issue_title TEXT NOT NULL,
  issue_body TEXT NOT NULL,
  issue_url TEXT NOT NULL,
  is_pull_request INTEGER NOT NULL CHECK (is_pull_request IN (0, 1)),
  comment_id INTEGER,
  instructions TEXT NOT NULL,
  requester_id INTEGER NOT NULL,
  requester_login TEXT NOT NULL,
  progress INTEGER NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
  activity TEXT,
  created_at INTEGER NOT NULL,
  queued_at INTEGER NOT NULL,
  started_at INTEGER,
  completed_at INTEGER,
  updated_at INTEGER NOT NULL,
  deadline_at INTEGER,
  seen_at INTEGER,
  machine_id TEXT,
  branch TEXT,
  commit_sha TEXT,
  pr_url TEXT,
  pr_number INTEGER,
  summary TEXT,
  error_message TEXT,
  failure_stage TEXT CHECK (failure_stage IN
    ('preflight', 'launch', 'clone', 'setup', 'agent', 'push', 'pr', 'callback')),
  input_tokens INTEGER,
  output_tokens INTEGER,
  cost_usd REAL,
  callback_attempts INTEGER,
  callback_max_attempts INTEGER,
  callback_last_http_code INTEGER,
  status_comment_id INTEGER,
  CHECK ((status = 'running') = (phase IS NOT NULL)),
  CHECK ((status IN ('success', 'failed', 'timed_out')) = (completed_at IS NOT NULL))
);

-- One active task per issue and agent (contract §5), whatever the code believes.
CREATE UNIQUE INDEX tasks_active_per_issue ON tasks(repo_id, issue_number, agent)
  WHERE status IN ('queued', 'running');
-- Admission: whose turn is next, and how many are running.
CREATE INDEX tasks_queued ON tasks(requester_id, priority, queued_at, id) WHERE status = 'queued';
CREATE INDEX tasks_running ON tasks(requester_id) WHERE status = 'running';
-- What `retry` and `status` on an issue mean, beside its active tasks. Only of ended ones: taking a task then
-- touches one page less, and under load the pages touched are the work.
CREATE INDEX tasks_ended_by_issue ON tasks(repo_id, issue_number, id) WHERE completed_at IS NOT NULL;
-- Whose machines are to be looked at.
CREATE INDEX tasks_by_change ON tasks(updated_at, requester_id);
-- A person's ended tasks, newest first; the active ones are found by their two indexes above.
CREATE INDEX tasks_ended_by_requester ON tasks(requester_id, id) WHERE completed_at IS NOT NULL;

-- What happened to a task, in order: status changes, progress and the worker's log lines.
CREATE TABLE task_events (
  task_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('status', 'progress', 'log')),
  data TEXT NOT NULL,
  PRIMARY KEY (task_id, seq),
  FOREIGN KEY (task_id) REFERENCES tasks(id) ON DELETE CASCADE
) WITHOUT ROWID;

-- The installation token of a running attempt, sealed, so that it can be taken back when the attempt ends, and the
-- Fly app its machine is in: the person may have chosen another since.
CREATE TABLE attempt_tokens (
  task_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  encrypted_value TEXT NOT NULL,
  iv TEXT NOT NULL,
  tag TEXT NOT NULL,
  key_version TEXT NOT NULL,
  fly_app TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (task_id, attempt),
  FOREIGN KEY (task_id) REFERENCES tasks(id) ON DELETE CASCADE
);

-- Effects owed. A row is claimed with a lease and a fence; it is gone once the effect is done.
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('reflect', 'launch', 'publish', 'clean_up', 'answer', 'control')),
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

CREATE INDEX jobs_by_lane ON jobs(lane, rank, run_at);
CREATE INDEX jobs_waiting ON jobs(run_at) WHERE leased_until IS NULL;
CREATE INDEX jobs_leased ON jobs(lane, leased_until) WHERE leased_until IS NOT NULL;

-- Webhook deliveries already answered, and the comments they were about.
CREATE TABLE deliveries (
  guid TEXT NOT NULL PRIMARY KEY,
  event TEXT NOT NULL,
  action TEXT,
  outcome TEXT NOT NULL CHECK (outcome IN ('accepted', 'duplicate', 'ignored', 'rejected')),
  reason TEXT,
  comment_key TEXT,
  task_id TEXT,
  sender_id INTEGER,
  repo_id INTEGER,
  received_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX deliveries_by_comment ON deliveries(comment_key) WHERE comment_key IS NOT NULL;
-- Those that will be forgotten.
CREATE INDEX deliveries_by_age ON deliveries(received_at) WHERE task_id IS NULL;
-- At most one invitation to sign in a day per person and repository.
CREATE INDEX deliveries_sign_in ON deliveries(sender_id, repo_id, received_at)
  WHERE reason = 'missing_user_oauth';

-- What is installed where, as GitHub told it.
CREATE TABLE installations (
  installation_id INTEGER NOT NULL PRIMARY KEY,
  account_login TEXT NOT NULL,
  account_type TEXT NOT NULL,
  repository_selection TEXT NOT NULL,
  suspended_at INTEGER,
  updated_at INTEGER NOT NULL
);

CREATE TABLE installation_repositories (
  installation_id INTEGER NOT NULL,
  repo_id INTEGER NOT NULL,
  full_name TEXT NOT NULL,
  PRIMARY KEY (installation_id, repo_id),
  FOREIGN KEY (installation_id) REFERENCES installations(installation_id) ON DELETE CASCADE
) WITHOUT ROWID;

-- Who is signed in. The cookie's value is not stored, only a keyed digest of it.
CREATE TABLE sessions (
  id_digest TEXT NOT NULL PRIMARY KEY,
  user_key TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  FOREIGN KEY (user_key) REFERENCES users(user_key) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE INDEX sessions_by_expiry ON sessions(expires_at);

-- Secrets that Porter made for itself, sealed under the encryption root.
CREATE TABLE instance_secrets (
  name TEXT NOT NULL PRIMARY KEY,
  encrypted_value TEXT NOT NULL,
  iv TEXT NOT NULL,
  tag TEXT NOT NULL,
  key_version TEXT NOT NULL,
  created_at INTEGER NOT NULL
);

-- Answers kept for a repeated `Idempotency-Key` of the API, 24 hours.
CREATE TABLE idempotency_keys (
  requester_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  request_digest TEXT NOT NULL,
  task_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (requester_id, key)
) WITHOUT ROWID;
