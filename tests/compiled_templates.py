"""All templates of pages, compiled when this is imported: once, before processes are forked."""

from tasks.pages.html import _ENVIRONMENT

for _name in _ENVIRONMENT.list_templates(extensions=["j2"]):
    _ENVIRONMENT.get_template(_name)
