CREATE CONSTRAINT kt_entity IF NOT EXISTS FOR (n:KtEntity) REQUIRE n.id IS UNIQUE;
CREATE INDEX kt_entity_kind IF NOT EXISTS FOR (n:KtEntity) ON (n.kind, n.namespace, n.name);
CREATE CONSTRAINT kt_version IF NOT EXISTS FOR (v:KtVersion) REQUIRE (v.entity, v.at) IS UNIQUE;
CREATE CONSTRAINT kt_change IF NOT EXISTS FOR (c:KtChange) REQUIRE c.id IS UNIQUE;
CREATE INDEX kt_change_at IF NOT EXISTS FOR (c:KtChange) ON (c.at);
CREATE INDEX kt_change_entity IF NOT EXISTS FOR (c:KtChange) ON (c.entity);
