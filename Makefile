# Thin names for the commands below; `make help` lists them. ARGS is passed on: make run ARGS="-n", make test ARGS="-k judge".
# ENV=cpu or ENV=cuda picks the environment, PYTHON=python3.12 the interpreter (envs/setup.sh says how they are chosen
# otherwise, and in which folder the environment of a choice lies).
VENV := .venv$(patsubst python%,-%,$(filter python%,$(PYTHON)))$(patsubst %,-%,$(filter light,$(ENV)))
.DEFAULT_GOAL := help
.PHONY: help run experiment test test-fast test-services test-slurm lint bench gpu-check replay lock clean-env

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

run: ## set up .venv, then the whole workflow (on config.yaml unless ARGS has a --configfile)
	@bash envs/setup.sh
	$(VENV)/bin/snakemake --cores all $(ARGS)

# One part after the other, in the order of their worth: a part that fails does not keep the next from its turn.
experiment: ## the study of docs/results.md: hours, can be stopped and resumed (TABLE=seeds: one part; ARGS=-n: its plan)
	@bash envs/setup.sh
	@trap 'exit 130' INT TERM; failed=; \
	for table in $(or $(TABLE),$$($(VENV)/bin/python tools/results.py --parts)); do \
		files=$$($(VENV)/bin/python tools/results.py --files $$table) || exit 1; \
		configs=$$($(VENV)/bin/python tools/results.py --configs $$table) || exit 1; \
		echo "experiment: $$table"; \
		$(VENV)/bin/snakemake --cores all --configfile $$configs --rerun-incomplete --keep-going $(ARGS) -- $$files \
			|| failed="$$failed $$table"; \
	done; \
	$(VENV)/bin/python tools/results.py; \
	test -z "$$failed" || { echo "experiment: not finished:$$failed (the same command goes on from there)"; exit 1; }

test: ## set up .venv with the test tools, then the test suite
	@bash envs/setup.sh test
	@echo "test: without the tests against real servers; those are 'make test-services'"
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: ## the tests without models, under two minutes (ENV=light: in an environment without torch)
	@bash envs/setup.sh test
	$(VENV)/bin/python -m pytest -m "not slow" -n 2 $(ARGS)

test-services: ## tests against real servers and tools (Slurm, vLLM's server, Label Studio, lm-eval, S3), which this installs
	@bash envs/setup.sh test
	@bash envs/label_studio.sh
	@bash envs/lm_eval.sh
	@bash envs/s3.sh
	@bash envs/slurm.sh
	$(VENV)/bin/python -m pytest -m "services or slurm" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-slurm: ## of these the tests on a real Slurm on the loopback alone
	@bash envs/setup.sh test
	@bash envs/slurm.sh
	$(VENV)/bin/python -m pytest -m slurm tests/test_slurm.py $(ARGS)

lint: ## ruff, snakefmt, snakemake --lint, mypy: what CI and pre-commit check
	@bash envs/setup.sh test
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/snakefmt --check Snakefile rules
	$(VENV)/bin/python .ci/lint_rules.py
	$(VENV)/bin/mypy scripts tools

bench: ## the benchmarks, one after the other
	@bash envs/setup.sh test
	@set -e; for script in benchmarks/bench_*.py; do echo "$$script"; $(VENV)/bin/python "$$script" $(ARGS); done

gpu-check: ## on a machine with a GPU: its paths on the embedded model, with a table of passes and tokens/s (ARGS=--dry: on a CPU)
	@bash envs/setup.sh
	$(VENV)/bin/python tools/gpu_check.py $(ARGS)

replay: ## JOB=results/...: the script of one job alone, outside Snakemake (ARGS=--pdb: under a debugger)
	@test -n "$(JOB)" || { echo 'error: say which job: make replay JOB=results/...'; exit 1; }
	$(VENV)/bin/python tools/replay $(JOB) $(ARGS)

lock: ## resolve pyproject.toml into envs/*.txt (needs uv; ARGS=--upgrade takes newer versions)
	bash envs/lock.sh $(ARGS)

clean-env: ## remove .venv (the next command makes it anew)
	rm -rf $(VENV) $(VENV)-setup.log $(VENV)-setup.lock
