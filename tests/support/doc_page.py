"""What a page of docs/ has in its blocks of code."""

import re
import shlex


def blocks(page: str, language: str) -> list[str]:
  return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def commands(page: str, language: str = "bash") -> list[list[str]]:
  """Words of each command; lines that end in a backslash are joined."""
  lines = "".join(blocks(page, language)).replace("\\\n", " ").splitlines()
  return [shlex.split(line) for line in lines if line.strip()]
