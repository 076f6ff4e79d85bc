# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# A compiled part that is older than its source would answer by what it was.
$(STAMP): requirements/lock.txt pyproject.toml setup.py $(wildcard diagnose/loops/*.pyx)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip sync -q --python $(BIN)/python requirements/lock.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	touch $@

.PHONY: install demo lint test tests-alone lock docs bench-ingest bench-petshop bench-quiet-logs bench-loop bench-overhead bench-offline bench-twin bench-learning bench-runs bench-verification bench-campaign record-campaign bench-verdict bench-abort bench-scale bench-stress bench-stress-real bench-guard bench-termination record-containers
install: $(STAMP)

# Breaks a simulated shop in three ways, one after the other; ends with an error unless each one is healed.
demo: $(STAMP)
	$(BIN)/kt demo --fault bad-rollout
	$(BIN)/kt demo --fault overload
	$(BIN)/kt demo --fault node-down

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Side by side: types take as long as the servers need to start.
test: $(STAMP)
	$(MAKE) --no-print-directory -j2 lint tests-alone

tests-alone: $(STAMP)
	$(BIN)/pytest -n 3 --dist loadgroup --durations 40

bench-ingest: $(STAMP)
	$(BIN)/python -m bench.ingest

# The data set is public (GitHub: amazon-science/petshop-root-cause-analysis); its folder is named in KT_PETSHOP.
bench-petshop: $(STAMP)
	$(BIN)/python -m bench.petshop

# A minute; of recorded lines as well with `python -m bench.quiet_logs --logs L.jsonl`.
bench-quiet-logs: $(STAMP)
	$(BIN)/python -m bench.quiet_logs

# Real servers; a quarter of an hour.
bench-loop: $(STAMP)
	$(BIN)/python -m bench.loop

# Incidents of a real cluster, recorded in bench/data/campaign; `record-campaign` records them anew, which takes an hour.
bench-campaign: $(STAMP)
	$(BIN)/python -m bench.campaign

record-campaign: $(STAMP)
	$(BIN)/python -m bench.campaign.record

# What is made out of the code and kept beside it; tests hold it to be current.
docs: $(STAMP)
	$(BIN)/python -m kt.settings_reference > docs/settings.md
	$(BIN)/kt playbooks schema > remediate/playbooks/schema.json
	$(BIN)/python -m kt.knowledge_page > docs/knowledge.md

bench-overhead: $(STAMP)
	$(BIN)/python -m bench.overhead

# Ten minutes: is the diagnosis of later incidents better for what was confirmed before?
bench-learning: $(STAMP)
	$(BIN)/python -m bench.learning

# Five minutes: is the diagnosis of later incidents better for runs of chaos before?
bench-runs: $(STAMP)
	$(BIN)/python -m bench.runs

# What verification costs for each incident, and KT's share of the CPU during a chaos run.
bench-verification: $(STAMP)
	$(BIN)/python -m bench.verification

# How soon an aborted run of chaos is undone.
bench-abort: $(STAMP)
	$(BIN)/python -m bench.abort

# How often a verdict is wrong, and how soon it comes.
bench-verdict: $(STAMP)
	$(BIN)/python -m bench.verdict

bench-offline: $(STAMP)
	$(BIN)/python -m bench.offline

# 2,000 incidents of made-up applications of 50, 500 and 5,000 services; half an hour on two cores, in as many goes as it takes.
bench-twin: $(STAMP)
	$(BIN)/python -m bench.fleet

# Beside the descheduler's own program, on kwok's nodes at a real API server, six clusters and one of 1,000 pods: needs go and etcd. `python -m bench.termination` needs neither.
bench-termination: $(STAMP)
	$(BIN)/python -m bench.termination --program
	$(BIN)/python -m bench.termination --program --seeds 1 --scale 5

# Container states of the testbed's Kubernetes, labelled by what becomes of them, into bench/data/containers; half an hour.
record-containers: $(STAMP)
	$(BIN)/python -m bench.containers

# With KT_TEST_NEO4J_URI on Neo4j as well: what is in that database is lost.
bench-scale: $(STAMP)
	$(BIN)/python -m bench.scale

lock: $(STAMP)
	$(BIN)/uv pip compile -q --python-version 3.11 --extra test --no-emit-index-url --no-header --universal pyproject.toml -o requirements/lock.txt
	$(BIN)/uv pip compile -q --python-version 3.11 --no-emit-index-url --no-header --universal -c requirements/lock.txt --no-annotate --generate-hashes pyproject.toml -o requirements/runtime.txt

# Half a thousand incidents on 50 targets, workers killed at random; some minutes.
bench-stress: $(STAMP)
	$(BIN)/python -m bench.stress

# The same on a real API server with its audit log as the witness, KT as processes on a real Redis; needs go, etcd and redis.
bench-stress-real: $(STAMP)
	$(BIN)/python -m bench.stress --real

bench-guard: $(STAMP)
	$(BIN)/python -m bench.guard
