# One entry point. Everything that is needed comes as hash-locked wheels into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NOTARY_HOME ?= var
export NOTARY_HOME
# How many tests run at once. Each file's tests stay together, as do the services they share.
JOBS ?= 2
SOAK_MINUTES ?= 60

.PHONY: help run demo test check slow fault soak bench lock pyz page vendor clean

help:
	@echo "make run    serve at http://127.0.0.1:8080, made at first start in ./var"
	@echo "make demo   deposit, certify and verify real files, then flip a byte of each"
	@echo "make test   the tests        make check  linters, types, architecture"
	@echo "make slow   fault and load tests, in full    make bench  the figures, as JSON"
	@echo "make fault  real servers killed, cut off, lying; NOTARY_KILLS=1000    make soak SOAK_MINUTES=60"
	@echo "make pyz    dist/verify.pyz, the offline verifier in one file    make page  dist/verify.html, for a browser"

$(VENV)/run: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/evidence.pth"
	printf '#!/bin/sh\nexec "%s/python" -m notary.cli.main "$$@"\n' "$(CURDIR)/$(BIN)" > $(BIN)/notary
	chmod +x $(BIN)/notary
	touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@

run: $(VENV)/run
	@$(BIN)/notary init --if-absent
	@exec $(BIN)/notary serve

demo: $(VENV)/run
	$(BIN)/python -m bench.demo $(FILES)

test: $(VENV)/dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/python -m pytest -q tests/test_architecture.py
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(BIN)/compose-lint check compose.yaml

slow: $(VENV)/dev
	$(BIN)/python -m pytest -m slow $(ARGS)

fault: $(VENV)/dev
	$(BIN)/python -m pytest -m fault $(ARGS)

soak: $(VENV)/dev
	SOAK_MINUTES=$(SOAK_MINUTES) $(BIN)/python -m pytest -s -m soak tests/fault/test_soak.py $(ARGS)

bench: $(VENV)/dev
	@$(BIN)/python -m bench $(BENCH)

pyz: $(VENV)/run
	$(BIN)/python -m notary.cli.pack dist/verify.pyz

page: $(VENV)/run
	$(BIN)/notary verify-page --output dist/verify.html

# The libraries inside verify.html, built anew from npm as the lock file has them; needs node.
vendor:
	cd verifier/vendor && npm ci && npm run build

lock:
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --no-strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links -o requirements.txt requirements.in
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --no-strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links -o requirements-dev.txt requirements-dev.in

clean:
	rm -rf $(VENV) dist demo-out
