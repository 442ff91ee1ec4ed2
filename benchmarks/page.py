"""Generated tables inside a page that was written by hand."""

import re

END = "<!-- end -->"


def block(command: str, lines: list[str]) -> str:
    """Return lines of Markdown between markers that name the command which makes them."""
    return "\n".join([f"<!-- {command} -->", "", *lines, "", END])


def replaced(text: str, new: str) -> str:
    """Return a page with a block in place of the one of the same command; raises ValueError if it has none."""
    begin = new.partition("\n")[0]
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the page has no markers {begin} and {END}")
    return pattern.sub(lambda _: new, text)
