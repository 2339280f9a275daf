-- The earlier Porter's four tables, with its names, columns and formats: its database moves over unchanged.

CREATE TABLE IF NOT EXISTS users (
  user_key TEXT PRIMARY KEY,
  github_user_id INTEGER,
  github_login TEXT,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS user_settings (
  user_key TEXT PRIMARY KEY,
  config_json TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  FOREIGN KEY (user_key) REFERENCES users(user_key) ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS user_secrets (
  user_key TEXT NOT NULL,
  provider_id TEXT NOT NULL,
  env_key TEXT NOT NULL,
  encrypted_value TEXT NOT NULL,
  iv TEXT NOT NULL,
  tag TEXT NOT NULL,
  alg TEXT NOT NULL DEFAULT 'aes-256-gcm',
  key_version TEXT NOT NULL DEFAULT 'v1',
  updated_at TEXT NOT NULL,
  PRIMARY KEY (user_key, provider_id, env_key),
  FOREIGN KEY (user_key) REFERENCES users(user_key) ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS user_oauth_tokens (
  github_user_id INTEGER PRIMARY KEY,
  github_login TEXT NOT NULL,
  github_login_norm TEXT NOT NULL,
  encrypted_token TEXT NOT NULL,
  iv TEXT NOT NULL,
  tag TEXT NOT NULL,
  alg TEXT NOT NULL DEFAULT 'aes-256-gcm',
  key_version TEXT NOT NULL DEFAULT 'v1',
  updated_at TEXT NOT NULL
);

CREATE UNIQUE INDEX IF NOT EXISTS idx_user_oauth_login_norm ON user_oauth_tokens(github_login_norm);

CREATE INDEX IF NOT EXISTS users_by_github_id ON users(github_user_id);
