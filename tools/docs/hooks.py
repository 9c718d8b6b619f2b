"""What MkDocs does for this site beside its own work: see ``hooks`` in ``mkdocs.yml``.

* The reference is made from the code (:mod:`tools.docs.command_line`,
  :mod:`tools.docs.file_formats`, :mod:`tools.docs.variables`), and the navigation lists its pages.
* Links that leave ``docs/`` are good in the repository and in its web view; the site gets a page
  for each file that they lead to (:mod:`tools.docs.repository`).
* Pictures become a part of the page, so that they have the page's colours
  (:mod:`tools.docs.pictures`).
"""

from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from tools.docs import command_line, file_formats, pictures, repository, variables

_reference: dict[str, str] = {}
_repository: dict[str, str] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the pages, and put those of a folder where the navigation names the folder."""
    for source in (command_line, file_formats, variables):
        _reference.update(source.pages())
    config.nav = [_with_pages(entry) for entry in config.nav or []]
    return config


def _with_pages(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _with_pages(below) for title, below in entry.items()}
    if isinstance(entry, list):
        return [_with_pages(one) for one in entry]
    if entry.endswith("/"):
        return [path for path in _reference if path.startswith(entry) and path.endswith(".md")]
    return entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, content in _reference.items():
        files.append(File.generated(config, path, content=content))
    texts = {file.src_uri: file.content_string for file in files if file.src_uri.endswith(".md")}
    _repository.update(repository.pages(texts))
    for path, content in _repository.items():
        outside = File.generated(config, path, content=content, inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(outside)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    return repository.with_pages(markdown, page.file.src_uri, _repository)


def on_page_content(html: str, config: MkDocsConfig, **_: Any) -> str:
    return pictures.in_the_page(html, config.docs_dir)
