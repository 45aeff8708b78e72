"""Small notebooks of data, training and results, for the tests of the runner."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from emoshare_utils.paths import home

PROFILE = "run: demo\nroot: null\nclips: 3\nrate: 1e-4\n"
FOLDERS = """
from emoshare_utils.paths import Run
this = Run(run)
this.figures.mkdir(parents=True, exist_ok=True)
"""
DATA = FOLDERS + "(this.folder / 'clips.csv').write_text('clip\\n' * clips)"
TRAIN = (
    FOLDERS
    + """
import os, sys
print('0 %\\r\\033[1mtraining at\\033[0m', rate, flush=True)
n = (this.folder / 'clips.csv').read_text().count('clip')
(this.folder / 'predictions.txt').write_text(f'{n // 2}')
(this.folder / 'kernel.txt').write_text(f'{sys.executable} {os.getcwd()}')
"""
)
RESULTS = FOLDERS + (
    "(this.figures / 'table1.csv').write_text((this.folder / 'predictions.txt').read_text())"
)


def write(name, *cells, parameters="run = 'x'"):
    """A notebook of a parameters cell and code cells; text that starts with # is prose."""
    made = [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    made += [new_markdown_cell(c) if c.startswith("#") else new_code_cell(c) for c in cells]
    nbformat.write(new_notebook(cells=made), str(home() / "notebooks" / f"{name}.ipynb"))


def edit(name, old, new, cell_type="code"):
    path = home() / "notebooks" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == cell_type:
            cell.source = cell.source.replace(old, new)
    nbformat.write(notebook, str(path))


def ran(steps):
    """The numbers of the notebooks that ran."""
    return [step.notebook[:2] for step in steps if step.ran]
