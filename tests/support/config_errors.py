"""Mistakes on the command line and in configurations (error_catalogue.py)."""

from tests.support.error_row import running, training

MAIN = "main.py", "--config=configs/quickstart.py"
VALUE = "... is ...; wanted ..."

ROWS = [
  # The command line.
  running(
    "L1",
    "unknown configuration key: ...",
    *MAIN,
    "--config.optim.lrr=1",
    also='Did you mean "lr" instead of "lrr"?',
  ),
  running(
    "L1", "unknown configuration key: ...", *MAIN, "--config.zzz=1", also="zzz"
  ),
  running(
    "L1",
    "Unknown command line flag ...",
    *MAIN,
    "--wrkdir=x",
    also="'wrkdir'. Did you mean: workdir",
  ),
  running(
    "L2",
    "could not convert string to float",
    *MAIN,
    "--config.optim.lr=fast",
    also="--config.optim.lr=fast",
  ),
  running(
    "L2",
    "invalid literal for int()",
    *MAIN,
    "--config.train.steps=1.5",
    also="config.train.steps=1.5",
  ),
  running(
    "L3",
    "the configuration cannot be read: ...",
    "main.py",
    "--config=configs/quickstar.py",
    also="did you mean configs/quickstart.py?",
  ),
  running(
    "L3",
    "the configuration cannot be read: ...",
    "main.py",
    "--config=configs/quickstart.py:mars",
    also="quickstart:mars: wanted openmoji or shapes",
  ),
  running("L3", "--config must have a value", "main.py"),
  running(
    "L3", "unexpected argument ...", *MAIN, "stray", also="flags look like"
  ),
  running(
    "L3",
    "config.json: not found; --workdir must name a run",
    "eval_vqa.py",
    "--workdir={root}",
    also="{root}/config.json",
  ),
  running(
    "L4",
    "asks for a device that is not there",
    *MAIN,
    also="JAX_PLATFORMS=tpu",
    environment={"JAX_PLATFORMS": "tpu"},
  ),
  # The configuration.
  training("L2", VALUE, "optim.lr is -1.0; wanted more than 0", optim__lr=-1.0),
  training(
    "L2",
    VALUE,
    "task.text_masking.rate is 2.0; wanted 0 to 1",
    task__text_masking__rate=2.0,
  ),
  training(
    "L2", VALUE, "train.steps is 0; wanted a whole number", train__steps=0
  ),
  training(
    "L2",
    VALUE,
    "train.batch_size is 0; wanted a whole number, 1 or",
    train__batch_size=0,
  ),
  training(
    "L2",
    VALUE,
    "optim.warmup_fraction is 1.5; wanted 0 to 1",
    optim__warmup_fraction=1.5,
  ),
  training(
    "L2",
    VALUE,
    "optim.warmup_steps is 3; wanted 0 to the 2 steps",
    optim__warmup_steps=3,
  ),
  training(
    "L2",
    VALUE,
    "optim.schedule is 'cosine'; wanted one of",
    optim__schedule="cosine",
  ),
  training(
    "L2", VALUE, "optim.clip is 'all'; wanted one of", optim__clip="all"
  ),
  training(
    "L2",
    VALUE,
    "parallel.mode is 'tpu'; wanted one of jit, pmap",
    parallel__mode="tpu",
  ),
  training("L2", VALUE, "data_checks is 'no'; wanted one of", data_checks="no"),
  training(
    "L2",
    VALUE,
    "input.captions.on_missing is 'drop'; wanted one of error, skip",
    input__captions__on_missing="drop",
  ),
  training(
    "L2", VALUE, "init.format is 'pt'; wanted one of auto", init__format="pt"
  ),
  training(
    "L2",
    VALUE,
    "task.name is 'vqaa'; wanted one of pretrain, retrieval, text, vcr, vqa, "
    "snli_ve, nlvr2; did you mean vqa?",
    task__name="vqaa",
  ),
  training(
    "L2",
    VALUE,
    "task.mrm_loss is 'l2'; wanted one of kl, hard, hard_confidence, features",
    task__mrm_loss="l2",
  ),
  training("L2", "is no key; did you mean", "optim.lr?", optim__lrr=1),
  training(
    "L2",
    VALUE,
    "model.size is 'huge'; wanted one of tiny, base, large",
    model__size="huge",
  ),
  training(
    "L2",
    "cannot be split into ... equal heads",
    "hidden_size 66 cannot be split into num_heads 4",
    lines=3,
    model__hidden_size=66,
  ),
  training(
    "L2",
    "which ... devices cannot share equally; the nearest sizes are",
    "evals.pairs_per_step is 9",
    evals__pairs_per_step=9,
  ),
  training(
    "L2",
    "cannot be cut into groups of ...; set task.group_size",
    "a batch of 8 examples cannot be cut into groups of 3",
    task__group_size=3,
  ),
  training(
    "L2",
    "text slots (input.max_text_length), but model.max_position_embeddings is",
    "100 text slots",
    input__max_text_length=100,
  ),
  training(
    "L2", "wanted at least 3: [CLS], a piece, [SEP]", input__max_text_length=2
  ),
  training(
    "L2", "set exactly one of them", "train.epochs is 2.0", train__epochs=2.0
  ),
  training(
    "L2",
    "set exactly one of them",
    "train.steps is None and train.epochs is None",
    train__steps=None,
  ),
  training(
    "L2",
    "needs parallel.mode 'jit'",
    parallel__mode="pmap",
    parallel__sharding="fsdp",
    task__group_size=1,
  ),
  training(
    "L2",
    "checkpoint.best_metric is ..., which no evaluation gives",
    "'dev/loss'",
    checkpoint__best_metric="dev/loss",
  ),
  training(
    "L2",
    "none is both evaluated and saved",
    train__steps=9,
    evals__every=2,
  ),
  training("L3", "is empty; set --config.input", input__store=""),
  training(
    "L2",
    "the configuration has ... mistakes:",
    "  optim.lr is -1.0; wanted more than 0\n  task.mrm_loss is 'l2'; wanted",
    lines=3,
    optim__lr=-1.0,
    task__mrm_loss="l2",
  ),
  training(
    "L2",
    "optim.rate_groups: no parameter matches",
    "'nothing/'; the nearest paths are",
    optim__rate_groups=(("nothing/", 0.1),),
  ),
]
