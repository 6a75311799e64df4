# A newcomer needs two commands: `make reproduce-table1` and `make test`. `make help` lists the rest.

DATA    ?= phantom
PROFILE ?= auto
SEEDS   ?=
METHODS ?=
JOBS    ?=
ENGINE  ?= local
SLURM   ?= slurm.toml
KERNELS ?=
ORACLE  ?=
CI      ?=
DRY     ?=
TABLE   ?= mmfas-table1
N       ?= 100
SCORES  ?=
HIGHER  ?=
OPTIONS ?=
PYTHON  ?= .venv/bin/python

# Everything runs in .venv, built from the pinned and hashed requirements, unless PYTHON names another python.
ENV   := $(if $(filter .venv/bin/python,$(PYTHON)),.venv/installed)
TABLES = $(PYTHON) -m paper_tables

comma  := ,
quoted  = '$(subst ','\'',$(1))'
options = --data $(call quoted,$(DATA)) --profile $(PROFILE) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(METHODS),--methods $(METHODS)) \
          $(if $(JOBS),--jobs $(JOBS)) $(if $(KERNELS),--kernels $(KERNELS)) $(if $(filter-out 0,$(ORACLE)),--oracle) \
          $(if $(filter slurm,$(ENGINE)),--slurm $(call quoted,$(SLURM))) $(if $(filter-out 0,$(CI)),--ci) $(if $(filter-out 0,$(DRY)),--dry-run)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## this list
	@awk '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-zA-Z0-9_-]*:.*## / { target = $$0; sub(/:.*/, "", target); sub(/^[^#]*## /, ""); \
	  printf "  %-26s %s\n", target, $$0 }' $(MAKEFILE_LIST)
	@echo
	@echo 'Variables, as in: make reproduce-table1 SEEDS=3'
	@echo '  DATA=phantom               stand-in faces, or a file with the roots of licensed data sets (data_manifests/README.md)'
	@echo '  PROFILE=auto|cpu|paper     auto: paper on CUDA, cpu without'
	@echo '  SEEDS=n                    trainings of each row (1 in the cpu profile, 3 in the paper profile)'
	@echo '  METHODS=mmfas,vit_s16      only these rows; all: every row that is implemented'
	@echo '  TABLE=mmfas-table1         what `make cost` measures; for `make check-table` also a file'
	@echo '  N=100                      how often `make kills` kills'
	@echo '  SCORES=scores.csv          what `make evaluate` judges; with HIGHER=bona-fide, DEVELOPMENT=dev, TEST=test, OPTIONS=…'
	@echo '  JOBS=n                     trainings at the same time'
	@echo '  ENGINE=slurm               trainings as jobs of a cluster, as SLURM=slurm.toml says (paper_tables/README.md)'
	@echo '  KERNELS=portable           the same CPU kernels on every machine, so that numbers can be compared; slower'
	@echo '  ORACLE=1                   score the test sets at every epoch, for the columns in which a test set chooses'
	@echo '  CI=1                       add 95 % bootstrap intervals over subjects'
	@echo '  DRY=1                      print the commands instead of running them'
	@echo '  PYTHON=python3             use this environment instead of building .venv'

# The lock is for two `make` at once. Whoever waited for it finds everything built.
LOCKED = python3 -c 'import fcntl, os, sys; f = os.open(".venv.lock", os.O_CREAT | os.O_RDWR, 0o666); \
  os.set_inheritable(f, True); fcntl.flock(f, fcntl.LOCK_EX); os.execvp(sys.argv[1], sys.argv[1:])'

.venv/installed: requirements.txt
	@$(LOCKED) sh -c 'test .venv/installed -nt requirements.txt || $(MAKE) --no-print-directory environment'

.PHONY: environment
environment:
	@test ! -L .venv || { echo 'error: .venv is a link, and would be emptied where it leads; remove it, or give PYTHON='; exit 2; }
	@echo 'Building .venv from requirements.txt (half a minute to a few minutes, about 6 GB)'
	python3 -m venv --clear .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check $$(grep -oE '^uv==[^ ]+' requirements.txt)
	.venv/bin/uv pip sync -q --python .venv/bin/python --require-hashes requirements.txt
	@touch .venv/installed

##@ Tables and figures: take the data of DATA, train what is missing, leave build/tables/NAME/ (text, Markdown, LaTeX, JSON, page)
ONE = $(addprefix reproduce-mmfas-,table1 table2 table3 figure6) \
      $(addprefix reproduce-mmda-,table1 table2 table3 table4 table5 figure3 figure4)

.PHONY: $(ONE) $(addprefix reproduce-table,1 2 3 4 5) reproduce-mmfas-figure5 readings-mmfas
.PHONY: cost reproduce-mmfas-figure7 reproduce-mmda-figure5 reproduce-mmda-figure6
.PHONY: mmda-batch-leak mmda-spread rivals-dead-gradients
reproduce-table1: $(ENV) ## Table 1 of both papers; likewise reproduce-table2 to reproduce-table5
	@$(TABLES) mmfas-table1 mmda-table1 $(options)

reproduce-table2: $(ENV)
	@$(TABLES) mmfas-table2 mmda-table2 $(options)

reproduce-table3: $(ENV)
	@$(TABLES) mmfas-table3 mmda-table3 $(options)

reproduce-table4: reproduce-mmda-table4
reproduce-table5: reproduce-mmda-table5

reproduce-mmfas-table1: ## mmFAS Table 1: train on CeFA, test on CeFA, CASIA-SURF, WMCA, HQ-WMCA
reproduce-mmfas-table2: ## mmFAS Table 2: modalities, alignment losses, attention; parameters
reproduce-mmfas-table3: ## mmFAS Table 3: the order of queries, keys and values
reproduce-mmfas-figure5: reproduce-mmfas-table1 ## mmFAS Figure 5: FPR-FNR curves; takes and leaves Table 1
reproduce-mmfas-figure6: ## mmFAS Figure 6: the weights of the alignment losses
reproduce-mmda-table1: ## MMDA Table 1: three data sets train, the fourth tests
reproduce-mmda-table2: ## MMDA Table 2: modalities missing at test
reproduce-mmda-table3: ## MMDA Table 3: two data sets train, two test
reproduce-mmda-table4: ## MMDA Table 4: denoising attention
reproduce-mmda-table5: ## MMDA Table 5: alignment losses
reproduce-mmda-figure3: ## MMDA Figure 3: layers of U-DSA and caption sets
reproduce-mmda-figure4: ## MMDA Figure 4: alignment heads of U-DSA

# Pictures and measurements of Table 1's models (seed 0), which are trained first where they are missing.
reproduce-mmfas-figure7: $(ENV) ## mmFAS Figure 7: where it looks, by Grad-CAM; takes Table 1's mmFAS of seed 0
	@$(TABLES) mmfas-figure7 $(options)

reproduce-mmda-figure5: $(ENV) ## MMDA Figure 5: t-SNE of CLIP and MMDA; takes one run of Table 1
	@$(TABLES) mmda-embeddings $(options)

reproduce-mmda-figure6: reproduce-mmda-figure5 ## MMDA Figure 6: before and after U-DSA; made with Figure 5

mmda-batch-leak: $(ENV) ## how much of a released MMDA score is owed to its batch; takes two runs of Table 1
	@$(TABLES) mmda-batch-leak $(options)

rivals-dead-gradients: $(ENV) ## which loss of each comparison row trains which parameters, METHODS or all; leaves build/tables/rivals-dead-gradients/
	@$(TABLES) mmda-table1 --prepare-only --profile cpu
	@$(PYTHON) -m reference.standin_clip
	@$(PYTHON) -m reference.probes.dead_gradients --out build/tables/rivals-dead-gradients $(if $(filter-out all,$(METHODS)),--methods $(METHODS))

mmda-spread: $(ENV) ## how far other seeds and other stand-in CLIPs move MMDA's rows and CLIP's (hours); leaves build/tables/mmda-spread.json
	@$(PYTHON) -m paper_tables.spread mmda-table1 --out build/tables/mmda-spread.json $(if $(JOBS),--jobs $(JOBS)) \
	  --methods $(or $(METHODS),mmda$(comma)mmda_released$(comma)clip_zero_shot$(comma)clip_finetuned)

$(ONE): reproduce-%: $(ENV)
	@$(TABLES) $* $(options)

readings-mmfas: $(ENV) ## which of the readings that mmFAS leaves open matter; SEEDS=3 or more to decide
	@$(TABLES) mmfas-readings $(options)

cost: $(ENV) ## what the rows of TABLE cost, and all its runs on DATA: samples, hours, disk; leaves build/cost/
	@$(PYTHON) -m paper_tables.planning.cost $(TABLE) --profile $(PROFILE) --data $(call quoted,$(DATA)) $(if $(SEEDS),--seeds $(SEEDS)) \
	  $(if $(filter-out 0,$(ORACLE)),--oracle) --out build/cost/$(TABLE).json

##@ Stand-in data: takes nothing, leaves build/phantom/ and build/index/
.PHONY: phantom phantom-sheet phantom-controls
phantom: $(ENV) ## render the stand-in data and build its index
	@$(TABLES) mmfas-table1 --prepare-only $(options)

phantom-sheet: $(ENV) ## a labelled picture of every attack family; leaves build/phantom-sheet/
	@$(PYTHON) -m data_manifests.phantom sheet --out build/phantom-sheet

phantom-controls: $(ENV) ## show that no trivial cue solves the stand-in data; prints, leaves nothing
	@$(TABLES) mmfas-table1 --prepare-only --profile cpu
	@$(PYTHON) -m reference.phantom_controls

##@ A GPU for half an hour: two commands, each of some minutes; paper_tables/README.md says what they need
.PHONY: gpu-wheels gpu-first gpu-second
WHEELS = tyro typeguard docstring-parser rich markdown-it-py mdurl pygments safetensors open-clip-torch timm h5py ftfy \
         wcwidth regex huggingface-hub tqdm pyyaml
space := $(subst ,, )
gpu-wheels: $(ENV) ## what python 3.12 with torch alone lacks there; leaves build/wheels/
	@$(PYTHON) -m pip download -q --no-deps --only-binary :all: --python-version 3.12 -d build/wheels \
	  $$(grep -oE '^($(subst $(space),|,$(strip $(WHEELS))))==[^ ;]+' requirements.txt)

gpu-first: $(ENV) ## all methods two steps twice, for a GPU at hand for half an hour; leaves build/gpu/same-bits.json
	@$(PYTHON) -m paper_tables.planning.same_bits --profile $(if $(filter auto,$(PROFILE)),paper,$(PROFILE)) \
	  $(if $(METHODS),--methods $(METHODS)) --out build/gpu/same-bits.json

gpu-second: $(ENV) ## trainings killed and going on; the benchmarks; bf16 beside float32; leaves build/gpu/, build/bench/
	@$(TABLES) mmfas-table1 --prepare-only --profile cpu
	@$(PYTHON) -m paper_tables.planning.kill_and_resume --out build/gpu/kill-and-resume.json
	@$(PYTHON) -m paper_tables.bench --profile $(if $(filter auto,$(PROFILE)),paper,$(PROFILE)) --seconds 200 --out build/bench
	@$(PYTHON) -m paper_tables.planning.parity --out build/gpu/parity.json

##@ Score files of any model: take CSV, npz or Parquet, leave build/evaluation/ (text, Markdown, LaTeX, JSON, page)
.PHONY: evaluate
evaluate: $(ENV) ## error rates of SCORES=scores.csv with intervals, curves and differences (paper_tables/evaluation/README.md)
	@$(TABLES) evaluate $(SCORES) $(if $(HIGHER),--higher $(HIGHER)) $(if $(DEVELOPMENT),--development $(DEVELOPMENT)) \
	  $(if $(TEST),--test $(TEST)) $(OPTIONS)

##@ Audit: takes the published numbers, seconds
.PHONY: audit discrepancies digits check-table
audit: $(ENV) ## decide every recorded claim of both papers; prints, and fails when a result changes
	@$(PYTHON) -m paper_tables.audit

discrepancies: $(ENV) ## write DISCREPANCIES.md and the ledger (paper_tables/audit/ledger.json) from the audit
	@$(PYTHON) -m paper_tables.audit --json paper_tables/audit/ledger.json --discrepancies DISCREPANCIES.md

check-table: $(ENV) ## whether the printed table in TABLE (TOML or CSV) can be true; prints, and fails when something cannot
	@$(PYTHON) -m paper_tables.audit check $(call quoted,$(TABLE))

digits: $(ENV) ## what a mistyped digit of a published number would change, by table (minutes); prints, leaves nothing
	@$(PYTHON) -m paper_tables.audit.digits

##@ Report: takes what lies in build/, runs nothing
.PHONY: report
report: $(ENV) ## one HTML page, build/report.html; CONFORMANCE=1 tests the equations first
	@$(PYTHON) -m paper_tables.report $(if $(filter-out 0,$(CONFORMANCE)),--conformance)

##@ Checks of this project
.PHONY: test lint spec bench mutants kills damage
test: lint spec ## lint, and every test; leaves the matrix in build/conformance/

lint: $(ENV) ## ruff and mypy
	@$(PYTHON) -m ruff check -q .
	@$(PYTHON) -m ruff format -q --check .
	@$(PYTHON) -m mypy --no-error-summary

spec: $(ENV) ## every test (pytest spec_tests/)
	@$(PYTHON) -m pytest spec_tests --conformance-report=build/conformance/reference.json

mutants: $(ENV) ## break the code in many ways and show which test notices (an hour); leaves build/mutants.json
	@$(PYTHON) -m spec_tests.bugs.mutants

kills: $(ENV) ## kill every stage, N times in all, and compare what it leaves when it is given again (N x 20 s)
	@$(PYTHON) -m paper_tables.planning.kills --number $(N) --out build/kills.json

damage: $(ENV) ## damage 2 000 files that commands read: the same result or a sentence (minutes); prints, leaves nothing
	@$(PYTHON) -m pytest spec_tests/tables/test_damage.py --hypothesis-profile=thorough

bench: $(ENV) ## speed beside peers, and what each ingredient of a step costs; leaves build/bench/ (JSON, tables, roofline)
	@$(TABLES) mmfas-table1 --prepare-only --profile cpu
	@$(PYTHON) -m paper_tables.bench --profile $(PROFILE) --out build/bench

.PHONY: requirements clean
requirements: ## pin the newest versions again; takes uv, leaves requirements.txt
	uv pip compile -q --upgrade --universal --generate-hashes --python-version 3.11 --extra dev --no-header --no-annotate \
	  pyproject.toml -o requirements.txt

clean: ## delete everything generated: stand-in data, caches, runs, tables; keeps .venv
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis
