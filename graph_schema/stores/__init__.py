"""Where the graph is kept: networkx in one SQLite file, or Neo4j. Both fulfil `graph_schema.store.GraphStore`."""
