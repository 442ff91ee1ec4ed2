"""The files of a new baseline, which works as written; `@NAME@` and its like stand for the method's names."""

from importlib.resources import files

_FILES = {
    "adapter.txt": "MODULE.py",
    "pyproject.txt": "pyproject.toml",
    "test.txt": "test_MODULE.py",
    "suite.txt": "suite.toml",
}


def stub_files(name: str) -> dict[str, str]:
    """Return {path: content} of a package with a method of that name."""
    module = name.replace("-", "_")
    words = {"@NAME@": name, "@MODULE@": module, "@CLASS@": "".join(part.capitalize() for part in name.split("-"))}
    made = {}
    for template, path in _FILES.items():
        content = (files(__name__) / template).read_text()
        for mark, word in words.items():
            content = content.replace(mark, word)
        made[path.replace("MODULE", module)] = content
    return made
