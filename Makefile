# make demo        train on the shipped footage, render a film, export the generator
# make test        all tests but those of faults, on a CPU, in minutes
# make test-faults kills, full disks, hostile files: the tests marked so
# make soak        N random SIGKILLs (1000), and long runs whose memory must not grow
# make fuzz        N hostile inputs (100000, for hours) for each kind of file that vidgan reads
# make lint        formatting and static checks
# make gallery     render the moving pictures of README.md again
# make benchmark   compare a plain script, dcgan and r3gan on three sets: nine runs, each of which
#                  is measured after MINUTES (10 and 30)
# make benchmark-speed  the speed of training, data and generation on this CPU, as one table
# make benchmark-gpu  the table of what needs a GPU: its tests, training, precisions, generation
# make runtimes    measure the table of runtimes in export/README.md again (installs 4 GB)
# make clean       delete what the other targets installed

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-faults test-fuzz test-kills soak fuzz runtimes gallery benchmark benchmark-speed benchmark-gpu lint clean

# If pip finds a wheel of torch in a local folder (its option find-links), it takes that one and
# downloads no gigabytes. held.txt then keeps this version while pip installs everything else.
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-index --no-deps "torch>=2.10" 2>/dev/null || true
	$(BIN)/pip freeze | grep "^torch==" > .venv/held.txt || true
	$(BIN)/pip install --quiet --constraint .venv/held.txt --editable ".[dev]"
	touch $@

demo: .venv/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" sh train/demo.sh

# web: the packages that build the page, and that drive the browser in its tests.
# node: the one package that the player in Node needs.
NODE := export/web/node_modules/.package-lock.json export/node/node_modules/.package-lock.json

export/%/node_modules/.package-lock.json: export/%/package-lock.json
	cd export/$* && npm ci --silent
	touch $@

test: .venv/ready $(NODE)
	$(BIN)/python -m pytest

# Two at a time, since each waits for many short processes. Their outputs do not mix.
test-faults: .venv/ready
	$(MAKE) --no-print-directory --jobs 2 --output-sync test-fuzz test-kills

test-fuzz test-kills: .venv/ready
	$(BIN)/python -m pytest -m faults $(if $(findstring fuzz,$@),tests/test_fuzz.py,--ignore tests/test_fuzz.py)

soak: N ?= 1000
soak: .venv/ready
	$(BIN)/python -m tests.faults.kills --kills $(N)
	$(BIN)/python -m tests.faults.soak

fuzz: N ?= 100000
fuzz: .venv/ready
	$(BIN)/python -m tests.faults.fuzz --inputs $(N)

# Runs the commands that README.md shows under its moving pictures.
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
	$(BIN)/python -m tests.benchmarks.compare --minutes $(MINUTES) --folder compare

benchmark-speed: .venv/ready
	$(BIN)/python -m tests.benchmarks.speed

benchmark-gpu: .venv/ready
	$(BIN)/python -m tests.benchmarks.gpu

clean:
	rm -rf .venv export/*/node_modules .pytest_cache .ruff_cache .hypothesis
