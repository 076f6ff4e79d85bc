CREATE INDEX kt_relation_ended IF NOT EXISTS FOR ()-[r:KT_RELATION]-() ON (r.ended);
MATCH ()-[r:KT_RELATION]->() WHERE r.gone AND r.ended IS NULL SET r.ended = r.at;
