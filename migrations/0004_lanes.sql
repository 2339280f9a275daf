-- The kind of a job's lane has a column of its own, and a job that cannot be carried out is kept and marked.

ALTER TABLE jobs ADD COLUMN lane_kind TEXT NOT NULL DEFAULT '';
UPDATE jobs SET lane_kind = substr(lane, 1, instr(lane, ':') - 1);
ALTER TABLE jobs ADD COLUMN failed_at INTEGER;

DROP INDEX jobs_by_lane;
DROP INDEX jobs_waiting;
DROP INDEX jobs_leased;
CREATE INDEX jobs_by_lane ON jobs(lane, rank, run_at) WHERE failed_at IS NULL;
CREATE INDEX jobs_waiting ON jobs(run_at) WHERE leased_until IS NULL AND failed_at IS NULL;
CREATE INDEX jobs_leased ON jobs(lane, lane_kind, leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX jobs_failed ON jobs(failed_at) WHERE failed_at IS NOT NULL;
