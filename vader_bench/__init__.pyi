"""The names of ``INTERFACE``, for type checkers and editors."""

from vader_bench.experiment.load import load_experiment as load_experiment
from vader_bench.experiment.load import load_suite as load_suite
from vader_bench.interface.models import load_backbone as load_backbone
from vader_bench.interface.models import load_model as load_model
from vader_bench.interface.models import load_reward as load_reward
from vader_bench.interface.results import read_results as read_results
from vader_bench.interface.runs import run_arm as run_arm
from vader_bench.interface.videos import score as score
from vader_bench.interface.videos import write_videos as write_videos
from vader_bench.prompts.sets import load_prompts as load_prompts

INTERFACE: dict[str, str]
__version__: str
