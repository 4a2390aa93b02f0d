"""Mistakes on the command line and in configurations (error_catalogue.py)."""

from tests.support.error_row import provoked, running

MAIN = "main.py --config=configs/quickstart.py"
VALUE = "... is ...; wanted ..."
# Case -> quote -> what is said besides -> the command.
COMMANDS = {
  "L1": {
    "unknown configuration key: ...": {
      'Did you mean "lr" instead of "lrr"?': f"{MAIN} --config.optim.lrr=1",
      "zzz": f"{MAIN} --config.zzz=1",
    },
    "Unknown command line flag ...": {
      "'wrkdir'. Did you mean: workdir": f"{MAIN} --wrkdir=x"
    },
  },
  "L2": {
    "could not convert string to float": {
      "--config.optim.lr=fast": f"{MAIN} --config.optim.lr=fast"
    },
    "invalid literal for int()": {
      "config.train.steps=1.5": f"{MAIN} --config.train.steps=1.5"
    },
  },
  "L3": {
    "the configuration cannot be read: ...": {
      "did you mean configs/quickstart.py?": "main.py "
      "--config=configs/quickstar.py",
      "quickstart:mars: wanted openmoji or shapes": f"{MAIN}:mars",
    },
    "--config must have a value": {"": "main.py"},
    "unexpected argument ...": {"flags look like": f"{MAIN} stray"},
    "config.json: not found; --workdir must name a run": {
      "{root}/config.json": "eval_task.py --workdir={root}"
    },
  },
}
ROWS = [
  running(case, quote, *command.split(), also=also)
  for case, quotes in COMMANDS.items()
  for quote, commands in quotes.items()
  for also, command in commands.items()
]
ROWS.append(
  running(
    "L4",
    "asks for a device that is not there",
    *MAIN.split(),
    also="JAX_PLATFORMS=tpu",
    environment={"JAX_PLATFORMS": "tpu"},
  )
)
ROWS += provoked(
  "L2",
  {
    VALUE: {
      "optim.lr is -1.0; wanted more than 0": {"optim.lr": -1.0},
      "task.text_masking.rate is 2.0; wanted 0 to 1": {
        "task.text_masking.rate": 2.0
      },
      "train.steps is 0; wanted a whole number": {"train.steps": 0},
      "optim.warmup_steps is 3; wanted 0 to the 2 steps": {
        "optim.warmup_steps": 3
      },
      "task.name is 'vqaa'; wanted one of pretrain, retrieval, text, vcr, vqa, "
      "snli_ve, nlvr2; did you mean vqa?": {"task.name": "vqaa"},
      "task.mrm_loss is 'l2'; wanted one of kl, hard, hard_confidence, "
      "features": {"task.mrm_loss": "l2"},
    },
    "is no key; did you mean": {"optim.lr?": {"optim.lrr": 1}},
    "cannot be split into ... equal heads": {
      "cannot be split into num_heads 5": {"model.num_heads": 5}
    },
    "which ... devices cannot share equally; the nearest sizes are": {
      "evals.pairs_per_step is 9": {"evals.pairs_per_step": 9}
    },
    "cannot be cut into groups of ...; set task.group_size": {
      "a batch of 8 examples cannot be cut into groups of 3": {
        "task.group_size": 3
      }
    },
    "text slots (input.max_text_length), but model.max_position_embeddings "
    "is": {"100 text slots": {"input.max_text_length": 100}},
    "wanted at least 3: [CLS], a piece, [SEP]": {
      "": {"input.max_text_length": 2}
    },
    "set exactly one of them": {
      "train.epochs is 2.0": {"train.epochs": 2.0},
      "train.steps is None and train.epochs is None": {"train.steps": None},
    },
    "needs parallel.mode 'jit'": {
      "": {
        "parallel.mode": "pmap",
        "parallel.sharding": "fsdp",
        "task.group_size": 1,
      }
    },
    "checkpoint.best_metric is ..., which no evaluation gives": {
      "'dev/loss'": {"checkpoint.best_metric": "dev/loss"}
    },
    "none is both evaluated and saved": {
      "": {"train.steps": 9, "evals.every": 2}
    },
    "optim.rate_groups: no parameter matches": {
      "'nothing/'; the nearest paths are": {
        "optim.rate_groups": (("nothing/", 2.0),)
      }
    },
  },
)
ROWS += provoked(
  "L2",
  {
    "there are ... mistakes:": {
      "  optim.lr is -1.0; wanted more than 0\n"
      "  task.mrm_loss is 'l2'; wanted": {
        "optim.lr": -1.0,
        "task.mrm_loss": "l2",
      },
    }
  },
  lines=3,
)
EMPTY = {"is empty; set --config.input": {"": {"input.store": ""}}}
ROWS += provoked("L3", EMPTY)
