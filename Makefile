# make demo   train, render and export on the embedded footage, from nothing
# make test   every promise, on a CPU, from nothing
# make gallery   the README's moving pictures again
# make lint   formatting and static checks
# make benchmark   plain script, dcgan and r3gan on three sets: nine trainings of MINUTES ("10 30")
# make runtimes   the table of runtimes in export/README.md, measured anew (installs 4 GB of them)

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test runtimes gallery benchmark lint clean

# A torch that pip already has at hand (a wheel in its find-links) is taken before the registry is
# asked for gigabytes; whatever is taken is then held while the rest is resolved around it.
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-index --no-deps "torch>=2.10" 2>/dev/null || true
	$(BIN)/pip freeze | grep "^torch==" > .venv/held.txt || true
	$(BIN)/pip install --quiet --constraint .venv/held.txt --editable ".[dev]"
	touch $@

demo: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh train/demo.sh

# web: what builds the page and drives the browser in its tests; users of the page need none of it.
# node: the one package that the player in Node needs.
NODE := export/web/node_modules/.package-lock.json export/node/node_modules/.package-lock.json

export/%/node_modules/.package-lock.json: export/%/package-lock.json
	cd export/$* && npm ci --silent
	touch $@

test: .venv/ready $(NODE)
	$(BIN)/python -m pytest

# The README's moving pictures, by the commands that stand under them.
gallery: .venv/ready
	rm -rf assets/gallery && mkdir assets/gallery
	grep -o "vidgan render .* assets/gallery/[a-z]*\.webp" README.md | sed "s|$$| --model assets/generator.safetensors|" \
		| PATH="$(CURDIR)/$(BIN):$$PATH" sh -e

runtimes: .venv/ready $(NODE)
	$(BIN)/python -m tests.runtimes.table .venv/runtimes

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

MINUTES ?= 10 30
benchmark: .venv/ready
	$(BIN)/python tests/benchmarks/compare.py --minutes $(MINUTES) --folder compare

clean:
	rm -rf .venv export/*/node_modules .pytest_cache .ruff_cache .hypothesis
