CREATE CONSTRAINT kt_trial IF NOT EXISTS FOR (t:KtTrial) REQUIRE t.id IS UNIQUE;
CREATE INDEX kt_trial_fault IF NOT EXISTS FOR (t:KtTrial) ON (t.fault, t.playbook);
