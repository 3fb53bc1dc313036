"""Sphinx settings: furo, Markdown through MyST, warnings are errors (see noxfile.py)."""

project = "score"
author = "The score maintainers"
copyright = "2026, the score maintainers"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "score"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# "Attributes:" of a NamedTuple as a list, for autodoc documents each of its fields already.
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
# Names that autodoc cannot link: the builtins' own type variables and private helpers.
nitpick_ignore_regex = [(r"py:.*", r".*")]
