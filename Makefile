# make demo   train, render and export on the embedded footage, from nothing
# make test   every promise, on a CPU, from nothing
# make gallery   the README's moving pictures again
# make lint   formatting and static checks
# make benchmark   plain script, dcgan and r3gan on three sets: nine trainings of MINUTES (10)

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test gallery benchmark lint clean

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

# What builds the page and drives the browser in its tests; users of the page need none of it.
export/web/node_modules/.package-lock.json: export/web/package-lock.json
	cd export/web && npm ci --silent
	touch $@

test: .venv/ready export/web/node_modules/.package-lock.json
	$(BIN)/python -m pytest

# The README's moving pictures, by the commands that stand under them.
gallery: .venv/ready
	rm -rf assets/gallery && mkdir assets/gallery
	grep -o "vidgan render .* assets/gallery/[a-z]*\.webp" README.md | PATH="$(CURDIR)/$(BIN):$$PATH" sh -e

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

MINUTES ?= 10
benchmark: .venv/ready
	$(BIN)/python tests/benchmarks/compare.py --minutes $(MINUTES) --folder compare

clean:
	rm -rf .venv export/web/node_modules .pytest_cache .ruff_cache .hypothesis
