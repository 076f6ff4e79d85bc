CREATE CONSTRAINT kt_notification IF NOT EXISTS FOR (n:KtNotification) REQUIRE n.id IS UNIQUE;
CREATE INDEX kt_notification_settled IF NOT EXISTS FOR (n:KtNotification) ON (n.settled);
CREATE CONSTRAINT kt_incident IF NOT EXISTS FOR (i:KtIncident) REQUIRE i.id IS UNIQUE;
CREATE INDEX kt_incident_due IF NOT EXISTS FOR (i:KtIncident) ON (i.due_at);
CREATE CONSTRAINT kt_event IF NOT EXISTS FOR (e:KtEvent) REQUIRE (e.incident, e.version) IS UNIQUE;
CREATE CONSTRAINT kt_signal_key IF NOT EXISTS FOR (k:KtSignalKey) REQUIRE k.key IS UNIQUE;
CREATE CONSTRAINT kt_lease IF NOT EXISTS FOR (l:KtLease) REQUIRE l.name IS UNIQUE;
