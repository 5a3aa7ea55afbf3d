# make demo: the main jobs with the embedded models, text and images, then a report.
# make system: what tests use of Debian's, where apt can install it: chromium for the page and an
# emoji font for drawing; those tests skip without.
# make test: the whole test suite. make unit: without the slow tests. make check: lint and types.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml constraints.txt hatch_build.py emo_harness/lm_tasks/expand.py $(wildcard tasks/*.yaml)
DEMO_OUT ?= demo-out
DEMO_QUESTIONS ?= 150
DEMO_IMAGES_QUESTIONS ?= 100
TASKS := emo_calibration_attack,emo_bbh_mini_attack
VISUAL_TASKS := emo_calibration_visual_attack,emo_bbh_visual_mini_attack

export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: demo system test unit check clean

$(BIN)/.installed: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[images]" -c constraints.txt
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
	$(BIN)/emo run --model emo-vlm --model_args pretrained=emo-demo-vlm \
	  --tasks $(VISUAL_TASKS) --metadata '{"emo": {"questions": $(DEMO_IMAGES_QUESTIONS)}}' \
	  --gen_kwargs max_gen_toks=8 --device cpu \
	  --log_samples --output_path $(DEMO_OUT)/runs > $(DEMO_OUT)/emo_run.log 2>&1 \
	  || { tail -n 40 $(DEMO_OUT)/emo_run.log; exit 1; }
	$(BIN)/emo images generate demo --model emo-demo-diffusion --steps 12 --guidance 3 --out $(DEMO_OUT)/images
	$(BIN)/emo images check $(DEMO_OUT)/images --encoder emo-demo-clip --run $(DEMO_OUT)/runs
	$(BIN)/emo report $(DEMO_OUT)/runs --out $(DEMO_OUT)/report
	@echo "lm_eval's own tables: $(DEMO_OUT)/lm_eval.log, $(DEMO_OUT)/emo_run.log"

system:
	@{ command -v chromium || command -v chromium-browser; } > /dev/null \
	  && fc-list 2> /dev/null | grep -q NotoColorEmoji \
	  || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && apt-get update -qq \
	    && apt-get install -qq -y --no-install-recommends chromium fontconfig fonts-noto-color-emoji; } \
	  || echo "no chromium or no emoji font: tests of the page or of drawing will skip"

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
