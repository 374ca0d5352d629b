"""A study with people: a page that asks which result comes nearest the target, and what counts their picks."""

from pixward.study.build import Study, StudySettings, build
from pixward.study.picks import read_key, read_picks
from pixward.study.score import score
from pixward.study.tasks import Task, read_tasks

__all__ = ["Study", "StudySettings", "Task", "build", "read_key", "read_picks", "read_tasks", "score"]
