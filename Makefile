# make demo: the main job with the embedded model, then a report.
# make chromium: the browser of the page's tests, where apt can install it; they skip without.
# make test: the whole test suite. make unit: without the slow tests. make check: lint and types.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt hatch_build.py emo_harness/lm_tasks/expand.py $(wildcard tasks/*.yaml)
DEMO_OUT ?= demo-out
DEMO_QUESTIONS ?= 150
TASKS := emo_calibration_attack,emo_bbh_mini_attack

export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo chromium test unit check clean

$(BIN)/.installed: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . -c constraints.txt
	touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]" -c constraints.txt
	touch $@

demo: $(BIN)/.installed
	rm -rf $(DEMO_OUT)
	$(BIN)/lm_eval --model hf --model_args pretrained=emo_harness/demo/weights/emo-demo-lm \
	  --tasks $(TASKS) --metadata '{"emo": {"questions": $(DEMO_QUESTIONS)}}' \
	  --gen_kwargs max_gen_toks=8 --batch_size 64 --device cpu \
	  --log_samples --output_path $(DEMO_OUT)/runs > $(DEMO_OUT).log 2>&1 \
	  || { tail -n 40 $(DEMO_OUT).log; exit 1; }
	mkdir -p $(DEMO_OUT) && mv $(DEMO_OUT).log $(DEMO_OUT)/lm_eval.log
	$(BIN)/emo report $(DEMO_OUT)/runs --out $(DEMO_OUT)/report
	@echo "lm_eval's own tables: $(DEMO_OUT)/lm_eval.log"

chromium:
	@command -v chromium > /dev/null || command -v chromium-browser > /dev/null \
	  || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null \
	    && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; } \
	  || echo "no chromium: the browser tests will skip"

test: $(BIN)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

unit: $(BIN)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

check: $(BIN)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(DEMO_OUT) $(DEMO_OUT).log build dist
