CREATE CONSTRAINT kt_chaos_schedule IF NOT EXISTS FOR (s:KtChaosSchedule) REQUIRE s.id IS UNIQUE;
CREATE CONSTRAINT kt_chaos_name IF NOT EXISTS FOR (s:KtChaosSchedule) REQUIRE s.name IS UNIQUE;
CREATE INDEX kt_chaos_due IF NOT EXISTS FOR (s:KtChaosSchedule) ON (s.due_at);
CREATE CONSTRAINT kt_chaos_run IF NOT EXISTS FOR (r:KtChaosRun) REQUIRE r.id IS UNIQUE;
CREATE INDEX kt_chaos_run_open IF NOT EXISTS FOR (r:KtChaosRun) ON (r.open);
CREATE INDEX kt_chaos_run_claimed IF NOT EXISTS FOR (r:KtChaosRun) ON (r.claimed_at);
CREATE INDEX kt_chaos_run_ended IF NOT EXISTS FOR (r:KtChaosRun) ON (r.ended_at);
CREATE CONSTRAINT kt_chaos_journal IF NOT EXISTS FOR (j:KtChaosJournal) REQUIRE (j.run, j.kind) IS UNIQUE;
