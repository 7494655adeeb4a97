# make demo        train on the shipped footage, render a film, export the generator
# make test        all tests but those of faults, on a CPU, in minutes
# make test-faults kills, full disks, hostile files: the tests marked so
# make test-all    both, in less time than one after the other
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

.PHONY: demo test test-faults test-all soak fuzz runtimes gallery benchmark benchmark-speed benchmark-gpu lint clean

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

# Tests run in groups, two at a time, the longest first: each waits for many short processes. One
# thread each is enough then. Their outputs do not mix. What no group names is in the last one.
kills := tests/test_kills.py
fuzz := tests/test_fuzz.py
training := tests/training
cli := tests/cli
players := tests/test_players.py tests/test_runtimes.py tests/test_readme.py tests/generator
film := tests/film tests/render
edit := tests/edit tests/test_course.py
TESTS := training cli players film edit
FAULTS := kills fuzz
test-all_groups := $(addprefix test-,$(FAULTS) $(TESTS) other-faults others)
test_groups := $(addprefix test-,$(TESTS) others)
test-faults_groups := $(addprefix test-,$(FAULTS) other-faults)

.PHONY: $(test-all_groups)
test test-all: $(NODE)
test test-faults test-all: .venv/ready
	OMP_NUM_THREADS=1 $(MAKE) --no-print-directory --jobs 2 --output-sync --keep-going $($@_groups)

# Tests build with make themselves: it must not look for the jobs of this one.
PYTEST := env -u MAKEFLAGS -u MFLAGS $(BIN)/python -m pytest
$(addprefix test-,$(TESTS)): test-%:
	$(PYTEST) $($*)
$(addprefix test-,$(FAULTS)): test-%:
	$(PYTEST) -m faults $($*)
test-others:
	$(PYTEST) $(foreach group,$(TESTS),$($(group):%=--ignore %))
test-other-faults:
	$(PYTEST) -m faults $(foreach group,$(FAULTS),$($(group):%=--ignore %))

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
