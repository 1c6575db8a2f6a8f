# Thin names for the commands below; `make help` lists them. ARGS is passed on: make run ARGS="-n", make test ARGS="-k judge".
# ENV=cpu or ENV=cuda picks the environment (envs/setup.sh says how it is chosen otherwise).
.DEFAULT_GOAL := help
.PHONY: help run test lint bench lock clean-env

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

run: ## set up .venv, then the whole workflow on config.yaml
	@bash envs/setup.sh
	.venv/bin/snakemake --cores all $(ARGS)

test: ## set up .venv with the test tools, then the test suite
	@bash envs/setup.sh test
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: ## ruff, snakefmt, snakemake --lint, mypy
	@bash envs/setup.sh test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/snakefmt --check Snakefile rules
	.venv/bin/snakemake --lint
	.venv/bin/mypy scripts tools

bench: ## the benchmarks, one after the other
	@bash envs/setup.sh test
	@set -e; for script in benchmarks/bench_*.py; do echo "$$script"; .venv/bin/python "$$script" $(ARGS); done

lock: ## resolve pyproject.toml into envs/*.txt (needs uv; ARGS=--upgrade takes newer versions)
	bash envs/lock.sh $(ARGS)

clean-env: ## remove .venv (the next command makes it anew)
	rm -rf .venv .venv-setup.log .venv-setup.lock
