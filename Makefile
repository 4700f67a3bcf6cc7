# make serve: the service, in an environment of its own. make test: lint, types and every test.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
# The build with the right accelerator is a matter of the machine; the range is in pyproject.toml.
TORCH ?= torch==2.13.0
# A whole Triton server, for the tests: linux on x86-64 alone.
TRITON ?= nvidia-pytriton==0.7.0
# A third quicker in two processes: PYTEST="--numprocesses 2 --dist loadfile". A file stays in one,
# so that the servers and models of its tests are made once.
PYTEST ?=

SERVE := .venv-serve
DEV := .venv
COMPARE := .venv-compare
SERVERS := loadtests/compare/servers

.PHONY: serve test lint types browser compare audit clean

serve: $(SERVE)/installed
	$(SERVE)/bin/silhouette serve --host $(HOST) --port $(PORT)

test: lint types browser
	$(DEV)/bin/pytest $(PYTEST)

lint: $(DEV)/installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .

types: $(DEV)/installed
	$(DEV)/bin/mypy

# Known vulnerabilities of what the image holds, to the version. Asks a database on the network; what
# that does not know fails the audit too, or an answer about nothing would look like a good one.
audit: $(DEV)/installed
	$(DEV)/bin/pip-audit --strict --no-deps --disable-pip --requirement deploy/requirements.txt

# Debian's Chromium for the page's test, which says why it skips where there is none.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } \
		|| echo "no chromium here: the browser test will be skipped"

# What people would use instead, in environments of their own; then all servers in turn, ten
# minutes in which nothing else should run. COMPARE_OPTIONS="--rounds 1" is shorter.
compare: $(DEV)/installed $(COMPARE)/installed $(COMPARE)-mediapipe/installed
	$(DEV)/bin/python -m loadtests.compare $(COMPARE_OPTIONS)

$(COMPARE)/installed: $(SERVERS)/requirements.txt
	$(PYTHON) -m venv $(COMPARE)
	$(COMPARE)/bin/pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

$(COMPARE)-mediapipe/installed: $(SERVERS)/requirements-mediapipe.txt
	$(PYTHON) -m venv $(COMPARE)-mediapipe
	$(COMPARE)-mediapipe/bin/pip install --quiet --disable-pip-version-check --requirement $< \
		|| echo "no mediapipe for this machine: it will not be measured"
	touch $@

$(SERVE)/installed: pyproject.toml
	$(PYTHON) -m venv $(SERVE)
	$(SERVE)/bin/pip install --quiet --disable-pip-version-check --editable .
	touch $@

# torch first: whatever wants it later finds it there. Of pytriton only the server's files are used,
# and what it depends on is not what we have.
$(DEV)/installed: pyproject.toml
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install --quiet --disable-pip-version-check $(TORCH)
	$(DEV)/bin/pip install --quiet --disable-pip-version-check --editable '.[training,triton,otel,loadtests,dev]'
	$(DEV)/bin/pip install --quiet --disable-pip-version-check --no-deps $(TRITON) \
		|| echo "no Triton server for this machine: its tests will be skipped"
	touch $@

clean:
	rm -rf $(SERVE) $(DEV) $(COMPARE) $(COMPARE)-mediapipe *.egg-info
